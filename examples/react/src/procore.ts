import type { ProblemJson, SessionJson } from "./procore-json";

/** What was refused or failed, with its code and what to tell the user. */
export class Problem extends Error {
  constructor(readonly json: ProblemJson) {
    super(json.title);
  }
}

/** Ask the application: with a body by POST, else by GET. */
export async function ask<Answer>(path: string, body?: object): Promise<Answer> {
  const response = await fetch(path, {
    method: body ? "POST" : "GET",
    headers: { Accept: "application/json", ...(body && { "Content-Type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  const json = await response.json();
  if (!response.ok) throw "sign_in_url" in json ? new Problem(json) : new Error(`${path}: ${response.status}`);
  return json;
}

/** Where a link signs in, and then comes back to this page. */
export function signInUrl(session: SessionJson): string {
  const here = location.pathname + location.search;
  return `${session.sign_in_url}?return_to=${encodeURIComponent(here)}`;
}
