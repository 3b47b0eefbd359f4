"""The drivers of flows, sync and async, and what carries a flow on beside its caller."""
