"use strict";
// The users table in SQLite with a write-ahead log and flushed commits: the tutorial's three columns,
// and what a page shows besides.
const Database = require("better-sqlite3");

const database = new Database(process.env.BENCH_DATABASE);
database.pragma("journal_mode = WAL");
database.pragma("synchronous = FULL");
database.exec(
  `CREATE TABLE IF NOT EXISTS users
   (id INTEGER PRIMARY KEY, procore_id INTEGER UNIQUE, email VARCHAR(255), name VARCHAR(255), me TEXT,
    created_at INTEGER, last_signed_in_at INTEGER)`,
);
const find = database.prepare("SELECT id FROM users WHERE procore_id = ?");
const insert = database.prepare(
  `INSERT INTO users (procore_id, email, name, me, created_at, last_signed_in_at)
   VALUES (?, ?, ?, ?, ?, ?)`,
);
const update = database.prepare(
  "UPDATE users SET name = ?, me = ?, last_signed_in_at = ? WHERE id = ?",
);
const one = database.prepare("SELECT * FROM users WHERE id = ?");

exports.signedIn = (me) => {
  const now = Date.now();
  const text = JSON.stringify(me);
  const found = find.get(me.id);
  if (found === undefined)
    return Number(insert.run(me.id, me.login, me.name, text, now, now).lastInsertRowid);
  update.run(me.name, text, now, found.id);
  return found.id;
};
exports.person = (id) => {
  const found = one.get(id);
  return (
    found && {
      id: found.id,
      procoreId: found.procore_id,
      email: found.email,
      name: found.name,
      me: found.me,
      createdAt: new Date(found.created_at),
      lastSignedInAt: new Date(found.last_signed_in_at),
    }
  );
};
