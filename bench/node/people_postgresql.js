"use strict";
// The users table in PostgreSQL through node-postgres, with the columns of people.js.
const { Pool } = require("pg");

const pool = new Pool({ connectionString: process.env.BENCH_POSTGRESQL });

exports.pool = pool;
exports.prepare = () =>
  pool.query(
    `CREATE TABLE IF NOT EXISTS users
     (id SERIAL PRIMARY KEY, procore_id BIGINT UNIQUE, email VARCHAR(255), name VARCHAR(255), me TEXT,
      created_at TIMESTAMPTZ, last_signed_in_at TIMESTAMPTZ)`,
  );
exports.signedIn = async (me) => {
  const values = [me.id, me.login, me.name, JSON.stringify(me)];
  const { rows } = await pool.query(
    `INSERT INTO users (procore_id, email, name, me, created_at, last_signed_in_at)
     VALUES ($1, $2, $3, $4, now(), now())
     ON CONFLICT (procore_id) DO UPDATE
     SET email = excluded.email, name = excluded.name, me = excluded.me, last_signed_in_at = now()
     RETURNING id`,
    values,
  );
  return rows[0].id;
};
exports.person = async (id) => {
  const { rows } = await pool.query("SELECT * FROM users WHERE id = $1", [id]);
  const found = rows[0];
  return (
    found && {
      id: found.id,
      procoreId: Number(found.procore_id),
      email: found.email,
      name: found.name,
      me: found.me,
      createdAt: found.created_at,
      lastSignedInAt: found.last_signed_in_at,
    }
  );
};
