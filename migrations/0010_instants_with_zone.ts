import type { Knex } from 'knex';

/**
 * The end of a session becomes an instant, the last of our times to be one. Without a zone it meant one moment to the
 * process that wrote it and another one to Postgres. The index on it is built anew by the same statement.
 *
 * The rows are read in the zone that the database gives to a connection, which is right where it is the zone of the
 * processes as well. Where it is not, most of them are wrong already; no session is made to last longer than its cookie
 * may.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE sessions ALTER COLUMN expire TYPE timestamptz USING
      least(expire::timestamptz, now() + (sess #>> '{cookie,originalMaxAge}')::float * interval '1 ms')`);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE sessions ALTER COLUMN expire TYPE timestamp(6) USING expire::timestamp');
}
