import type { Knex } from 'knex';

/** Partner users, their browser sessions (connect-pg-simple) and the throttles' counters (rate-limiter-flexible). */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE users (
      id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
      -- in lower case; the name that the user signs in with
      email         text NOT NULL UNIQUE,
      password_hash text NOT NULL,
      created_at    timestamptz NOT NULL
    )`);
  await knex.raw(`
    CREATE TABLE sessions (
      sid    varchar PRIMARY KEY,
      sess   json NOT NULL,
      expire timestamp(6) NOT NULL
    )`);
  await knex.raw('CREATE INDEX sessions_expire ON sessions (expire)');
  await knex.raw(`
    CREATE TABLE rate_limits (
      key    varchar(255) PRIMARY KEY,
      points integer NOT NULL DEFAULT 0,
      expire bigint
    )`);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE rate_limits, sessions, users');
}
