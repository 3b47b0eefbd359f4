// Better Auth with its generic OAuth plugin on PostgreSQL, under Express as its documentation shows:
// users, accounts, sessions and the state of a sign-in are rows of its own tables.
import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { fromNodeHeaders, toNodeHandler } from "better-auth/node";
import { genericOAuth } from "better-auth/plugins";
import express from "express";
import pg from "pg";
import page from "./page.js";

const upstream = process.env.BENCH_UPSTREAM;

const auth = betterAuth({
  baseURL: process.env.BENCH_ORIGIN,
  secret: "a secret of the benchmark that is long enough",
  database: new pg.Pool({ connectionString: process.env.BENCH_POSTGRESQL }),
  rateLimit: { enabled: false }, // as for every contender
  telemetry: { enabled: false },
  advanced: { database: { joins: true } }, // a session with its user, in one query
  user: {
    additionalFields: {
      procoreId: { type: "number", bigint: true },
      me: { type: "string" },
    },
  },
  plugins: [
    genericOAuth({
      config: [
        {
          providerId: "procore",
          clientId: "bench-client-id",
          clientSecret: "bench-client-secret",
          authorizationUrl: `${upstream}/oauth/authorize`,
          tokenUrl: `${upstream}/oauth/token`,
          userInfoUrl: `${upstream}/rest/v1.0/me`,
          pkce: true,
          mapProfileToUser: ({ id, login, name }) => ({
            email: login,
            name,
            procoreId: id,
            me: JSON.stringify({ id, login, name }),
          }),
        },
      ],
    }),
  ],
});

const app = express();
page.useViews(app);
app.all("/api/auth/*splat", toNodeHandler(auth));
app.get("/login", async (request, response) => {
  const answer = await auth.api.signInSocial({
    body: { provider: "procore", callbackURL: "/home" },
    headers: fromNodeHeaders(request.headers),
    asResponse: true,
  });
  for (const cookie of answer.headers.getSetCookie()) response.append("set-cookie", cookie);
  response.redirect((await answer.json()).url);
});
app.get("/home", async (request, response) => {
  const found = await auth.api.getSession({ headers: fromNodeHeaders(request.headers) });
  if (!found) return response.redirect("/login");
  const { user, session } = found;
  const person = { ...user, procoreId: Number(user.procoreId), lastSignedInAt: session.createdAt };
  page.answer(request, response, person, session.expiresAt);
});

const { runMigrations } = await getMigrations(auth.options);
await runMigrations();
app.listen(Number(process.env.BENCH_PORT), "127.0.0.1");
