"use strict";
// The users table: the tutorial's, in SQLite with a write-ahead log and flushed commits.
const Database = require("better-sqlite3");

const database = new Database(process.env.BENCH_DATABASE);
database.pragma("journal_mode = WAL");
database.pragma("synchronous = FULL");
database.exec(
  "CREATE TABLE IF NOT EXISTS users (id INTEGER PRIMARY KEY, procore_id INTEGER UNIQUE, email VARCHAR(255))",
);
const find = database.prepare("SELECT id FROM users WHERE procore_id = ?");
const insert = database.prepare("INSERT INTO users (procore_id, email) VALUES (?, ?)");
const row = database.prepare("SELECT id, procore_id, email FROM users WHERE id = ?").raw();

exports.signedIn = (procoreId, email) => {
  const found = find.get(procoreId);
  return found === undefined ? Number(insert.run(procoreId, email).lastInsertRowid) : found.id;
};
exports.row = (id) => row.get(id);
