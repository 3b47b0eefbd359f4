import { useCallback, useEffect, useState } from "react";

import { Problem, ask, signInUrl } from "./procore";
import type {
  CompaniesJson,
  CompanyJson,
  GoToJson,
  OpenSessionJson,
  SessionJson,
  SessionsJson,
  UserJson,
} from "./procore-json";

type Failed = (error: unknown) => void;

export function App() {
  const [session, setSession] = useState<SessionJson | null>(null);
  const [problem, setProblem] = useState<Error | null>(null);

  const look = useCallback(() => {
    ask<SessionJson>("/procore/session").then(setSession, setProblem);
  }, []);
  useEffect(look, [look]);

  const failed = useCallback<Failed>((error) => {
    // The session is over, or Procore no longer lets the application act for the user.
    if (error instanceof Problem && error.json.sign_in_url !== null) {
      setSession((known) => known && { ...known, user: null });
    } else {
      setProblem(error as Error);
    }
  }, []);

  const signOut = () =>
    ask<GoToJson>("/procore/sign-out", {}).then(({ go_to }) => location.assign(go_to), failed);

  return (
    <>
      <header>
        <a className="brand" href="/">My projects</a>
        {session?.user && (
          <nav aria-label="Pages">
            <a href="/projects">Projects</a>
            <a href="/devices">Devices</a>
            <button className="plain" onClick={signOut}>Sign out</button>
          </nav>
        )}
      </header>
      <main>
        {problem && <Trouble problem={problem} />}
        {session && (session.user ? <Page user={session.user} failed={failed} /> : <Welcome session={session} />)}
      </main>
    </>
  );
}

function Welcome({ session }: { session: SessionJson }) {
  return (
    <section>
      <h1>Your projects, in one place</h1>
      <p>Sign in with your Procore account to see them.</p>
      <a className="button" href={signInUrl(session)}>Sign In with Procore</a>
    </section>
  );
}

function Page({ user, failed }: { user: UserJson; failed: Failed }) {
  return location.pathname === "/devices" ? <Devices failed={failed} /> : <Projects user={user} failed={failed} />;
}

function Projects({ user, failed }: { user: UserJson; failed: Failed }) {
  const [companies, setCompanies] = useState<CompaniesJson | null>(null);
  const [projects, setProjects] = useState<string[] | null>(null);

  useEffect(() => {
    ask<CompaniesJson>("/procore/company").then(setCompanies, failed);
  }, [failed]);
  const chosen = companies?.company_id ?? null;
  useEffect(() => {
    if (companies?.company_id) ask<string[]>("/api/projects").then(setProjects, failed);
  }, [companies, failed]);

  const choose = (company_id: number) => {
    setProjects(null);
    ask<CompanyJson>("/procore/company", { company_id }).then(
      () => setCompanies((known) => known && { ...known, company_id }),
      failed,
    );
  };

  return (
    <section>
      <h1>Projects of {user.name ?? user.email}</h1>
      {companies && (
        <label>
          Company
          <select value={chosen ?? ""} onChange={(event) => choose(Number(event.target.value))}>
            {chosen === null && <option value="">Choose one</option>}
            {companies.companies.map(({ id, name }) => (
              <option key={id} value={id}>{name}</option>
            ))}
          </select>
        </label>
      )}
      <div aria-live="polite">
        {projects?.length === 0 && <p>There are no projects in this company.</p>}
        {projects && <ul>{projects.map((name) => <li key={name}>{name}</li>)}</ul>}
      </div>
    </section>
  );
}

function Devices({ failed }: { failed: Failed }) {
  const [sessions, setSessions] = useState<OpenSessionJson[] | null>(null);
  const show = ({ sessions }: SessionsJson) => setSessions(sessions);

  useEffect(() => {
    ask<SessionsJson>("/procore/sessions").then(show, failed);
  }, [failed]);
  const end = (which: object) => ask<SessionsJson>("/procore/sessions/end", which).then(show, failed);

  return (
    <section>
      <h1>Where you are signed in</h1>
      <ul aria-live="polite">
        {sessions?.map((each) => (
          <li key={each.id}>
            <span>
              {each.browser}
              <small>{each.current ? "this browser" : new Date(each.last_seen_at).toLocaleString()}</small>
            </span>
            {!each.current && (
              <button className="plain" onClick={() => end({ session_id: each.id })}>
                End<span className="unseen"> the session of {each.browser}</span>
              </button>
            )}
          </li>
        ))}
      </ul>
      {sessions && sessions.length > 1 && <button onClick={() => end({ others: true })}>End all others</button>}
    </section>
  );
}

function Trouble({ problem }: { problem: Error }) {
  const json = problem instanceof Problem ? problem.json : null;
  return (
    <section role="alert">
      <h1>{json?.title ?? "The application does not respond"}</h1>
      <p>{json?.detail ?? "Look whether you have a connection, then try again."}</p>
      {json && <p><small>Reference {json.reference}</small></p>}
      <button onClick={() => location.reload()}>Try again</button>
    </section>
  );
}
