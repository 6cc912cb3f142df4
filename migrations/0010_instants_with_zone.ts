import type { Knex } from 'knex';

/**
 * The end of a session becomes an instant, as the last of our times. Without a zone it meant one moment to the process
 * that wrote it and another one to Postgres. The same statement rebuilds the index on it.
 *
 * The rows are read in the time zone that the database gives to a connection. That is right if the processes have the
 * same zone. If they have another one, most of the rows are wrong already; no session is made to last longer than its
 * cookie may.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE sessions ALTER COLUMN expire TYPE timestamptz USING
      least(expire::timestamptz, now() + (sess #>> '{cookie,originalMaxAge}')::float * interval '1 ms')`);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE sessions ALTER COLUMN expire TYPE timestamp(6) USING expire::timestamp');
}
