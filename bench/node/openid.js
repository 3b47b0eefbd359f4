"use strict";
// Express with openid-client, as its README shows the authorization code flow.
const express = require("express");
const session = require("express-session");
const page = require("./page");
const people = require("./people");

async function main() {
  const client = await import("openid-client");
  const upstream = process.env.BENCH_UPSTREAM;
  const redirectUri = process.env.BENCH_REDIRECT_URI;
  const config = new client.Configuration(
    {
      issuer: upstream,
      authorization_endpoint: `${upstream}/oauth/authorize`,
      token_endpoint: `${upstream}/oauth/token`,
    },
    "bench-client-id",
    undefined,
    client.ClientSecretPost("bench-client-secret"),
  );
  client.allowInsecureRequests(config);

  const app = express();
  page.useViews(app);
  app.use(session({ secret: "a secret of the benchmark", resave: false, saveUninitialized: false }));
  app.get("/login", async (request, response) => {
    const verifier = client.randomPKCECodeVerifier();
    const state = client.randomState();
    Object.assign(request.session, { verifier, state });
    const parameters = {
      redirect_uri: redirectUri,
      code_challenge: await client.calculatePKCECodeChallenge(verifier),
      code_challenge_method: "S256",
      state,
    };
    response.redirect(client.buildAuthorizationUrl(config, parameters).href);
  });
  app.get("/callback", async (request, response) => {
    const { verifier, state } = request.session;
    const url = new URL(request.originalUrl, redirectUri);
    const checks = { pkceCodeVerifier: verifier, expectedState: state };
    const tokens = await client.authorizationCodeGrant(config, url, checks);
    const me = await client
      .fetchProtectedResource(config, tokens.access_token, new URL(`${upstream}/rest/v1.0/me`), "GET")
      .then((answer) => answer.json());
    request.session.regenerate(() => {
      request.session.user_id = people.signedIn(me);
      request.session.save(() => response.redirect("/home"));
    });
  });
  app.get("/home", (request, response) => {
    const person = people.person(request.session.user_id ?? null);
    return person ? page.answer(request, response, person) : response.redirect("/login");
  });
  app.listen(Number(process.env.BENCH_PORT), "127.0.0.1");
}

main();
