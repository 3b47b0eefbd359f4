"use strict";
// Express with passport-oauth2, as its README and Passport's documentation show it.
const express = require("express");
const session = require("express-session");
const passport = require("passport");
const OAuth2Strategy = require("passport-oauth2");
const people = require("./people");

const upstream = process.env.BENCH_UPSTREAM;

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
  (accessToken, refreshToken, profile, done) =>
    done(null, { id: people.signedIn(profile.id, profile.login) }),
);
strategy._oauth2.useAuthorizationHeaderforGET(true);
strategy.userProfile = function (accessToken, done) {
  this._oauth2.get(`${upstream}/rest/v1.0/me`, accessToken, (error, body) =>
    error ? done(error) : done(null, JSON.parse(body)),
  );
};
passport.use(strategy);
passport.serializeUser((user, done) => done(null, user.id));
passport.deserializeUser((id, done) => done(null, { id, row: people.row(id) }));

const app = express();
app.use(session({ secret: "a secret of the benchmark", resave: false, saveUninitialized: false }));
app.use(passport.authenticate("session"));
app.get("/login", passport.authenticate("oauth2"));
app.get(
  "/callback",
  passport.authenticate("oauth2", { successRedirect: "/home", failureRedirect: "/failed" }),
);
app.get("/home", (request, response) =>
  request.user ? response.json(request.user.row) : response.redirect("/login"),
);
app.listen(Number(process.env.BENCH_PORT), "127.0.0.1");
