// Moves a sign-in answer from the fragment of this address, which no server sees, into its query.
// It does so once: an address whose query has an answer is left alone, so the page cannot loop.
// A token in the fragment is never read (RFC 9700 §4.6, the front channel is no place for one).
"use strict";
{
  const ANSWER = ["code", "state", "error", "error_description", "iss"];
  const MOST = 8192; // what the callback reads; a longer address would end on a bare server error
  const here = new URL(location.href);
  const fragment = new URLSearchParams(here.hash.slice(1));
  const query = new URLSearchParams();
  for (const name of ANSWER) {
    // All of them: what comes twice must look so to the server, which refuses it.
    for (const value of fragment.getAll(name)) query.append(name, value);
  }
  const seen = ANSWER.some((name) => here.searchParams.has(name));
  const answered = query.has("code") || query.has("error");
  const moving = answered && !seen && query.toString().length <= MOST;
  document.documentElement.dataset.answer = moving ? "moving" : "missing";
  if (moving) {
    document.title = "Finishing your sign-in";
    here.search = query;
    here.hash = "";
    // Once the page is there: a browser that is told to leave before that draws nothing meanwhile.
    addEventListener("DOMContentLoaded", () => location.replace(here));
  }
}
