"use strict";
// What home answers: the row to a program, the page to a browser (the harness says it in one word).
const words = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "long",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  timeZone: "UTC",
});
const when = (moment) => words.format(moment);
const fortnight = 14 * 24 * 3600 * 1000;

exports.useViews = (app) => app.set("view engine", "ejs").set("views", `${__dirname}/views`);
exports.answer = (request, response, person, sessionEndsAt) => {
  const row = [person.id, person.procoreId, person.email];
  if (request.get("accept") === "application/json") return response.json(row);
  response.render("home", {
    person,
    sessionEndsAt: sessionEndsAt ?? new Date(person.lastSignedInAt.getTime() + fortnight),
    row: JSON.stringify(row),
    me: JSON.stringify(JSON.parse(person.me), null, 2),
    when,
  });
};
