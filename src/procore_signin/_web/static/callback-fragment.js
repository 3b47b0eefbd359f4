// Moves a sign-in response from the fragment of this address, which no server sees, into its query.
// It does so once: an address whose query has a response is left alone, so the page cannot loop.
// A token in the fragment is never read (RFC 9700 §4.6: tokens do not belong in the front channel).
"use strict";
{
  const RESPONSE = ["code", "state", "error", "error_description", "iss"];
  const MOST = 8192; // what the callback reads; a longer address would end on a bare server error
  const here = new URL(location.href);
  const fragment = new URLSearchParams(here.hash.slice(1));
  const query = new URLSearchParams();
  for (const name of RESPONSE) {
    // All values: the server must see a repeated parameter, to refuse it.
    for (const value of fragment.getAll(name)) query.append(name, value);
  }
  const seen = RESPONSE.some((name) => here.searchParams.has(name));
  const responded = query.has("code") || query.has("error");
  const moving = responded && !seen && query.toString().length <= MOST;
  document.documentElement.dataset.answer = moving ? "moving" : "missing";
  if (moving) {
    document.title = document.currentScript.dataset.title;
    here.search = query;
    here.hash = "";
    // Once the page is loaded: a browser that leaves earlier draws nothing meanwhile.
    addEventListener("DOMContentLoaded", () => location.replace(here));
  }
}
