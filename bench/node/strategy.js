"use strict";
// passport-oauth2's strategy for Procore, as its README and Passport's documentation show it.
const OAuth2Strategy = require("passport-oauth2");

const upstream = process.env.BENCH_UPSTREAM;

exports.strategy = (verify) => {
  const strategy = new OAuth2Strategy(
    {
      authorizationURL: `${upstream}/oauth/authorize`,
      tokenURL: `${upstream}/oauth/token`,
      clientID: "bench-client-id",
      clientSecret: "bench-client-secret",
      callbackURL: process.env.BENCH_REDIRECT_URI,
      state: true,
      pkce: true,
    },
    verify,
  );
  strategy._oauth2.useAuthorizationHeaderforGET(true);
  strategy.userProfile = function (accessToken, done) {
    this._oauth2.get(`${upstream}/rest/v1.0/me`, accessToken, (error, body) =>
      error ? done(error) : done(null, JSON.parse(body)),
    );
  };
  return strategy;
};
