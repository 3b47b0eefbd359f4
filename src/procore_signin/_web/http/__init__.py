"""HTTP as browsers send it: messages, cookies, headers, bodies, origins and limits."""
