"use strict";
// Express with passport-oauth2, as its README and Passport's documentation show it.
const express = require("express");
const session = require("express-session");
const passport = require("passport");
const page = require("./page");
const people = require("./people");
const { strategy } = require("./strategy");

passport.use(
  strategy((accessToken, refreshToken, profile, done) =>
    done(null, { id: people.signedIn(profile) }),
  ),
);
passport.serializeUser((user, done) => done(null, user.id));
passport.deserializeUser((id, done) => done(null, people.person(id) ?? false));

const app = express();
page.useViews(app);
app.use(session({ secret: "a secret of the benchmark", resave: false, saveUninitialized: false }));
app.use(passport.authenticate("session"));
app.get("/login", passport.authenticate("oauth2"));
app.get(
  "/callback",
  passport.authenticate("oauth2", { successRedirect: "/home", failureRedirect: "/failed" }),
);
app.get("/home", (request, response) =>
  request.user ? page.answer(request, response, request.user) : response.redirect("/login"),
);
app.listen(Number(process.env.BENCH_PORT), "127.0.0.1");
