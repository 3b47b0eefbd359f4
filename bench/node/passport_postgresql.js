"use strict";
// Express with passport-oauth2 and, as connect-pg-simple's README shows, sessions in PostgreSQL.
const express = require("express");
const session = require("express-session");
const PostgresStore = require("connect-pg-simple")(session);
const passport = require("passport");
const page = require("./page");
const people = require("./people_postgresql");
const { strategy } = require("./strategy");

passport.use(
  strategy((accessToken, refreshToken, profile, done) =>
    people.signedIn(profile).then((id) => done(null, { id }), done),
  ),
);
passport.serializeUser((user, done) => done(null, user.id));
passport.deserializeUser((id, done) =>
  people.person(id).then((person) => done(null, person ?? false), done),
);

const app = express();
page.useViews(app);
app.use(
  session({
    store: new PostgresStore({ pool: people.pool, createTableIfMissing: true }),
    secret: "a secret of the benchmark",
    resave: false,
    saveUninitialized: false,
    cookie: { maxAge: 30 * 24 * 60 * 60 * 1000 },
  }),
);
app.use(passport.authenticate("session"));
app.get("/login", passport.authenticate("oauth2"));
app.get(
  "/callback",
  passport.authenticate("oauth2", { successRedirect: "/home", failureRedirect: "/failed" }),
);
app.get("/home", (request, response) =>
  request.user
    ? page.answer(request, response, request.user, request.session.cookie.expires)
    : response.redirect("/login"),
);
people.prepare().then(() => app.listen(Number(process.env.BENCH_PORT), "127.0.0.1"));
