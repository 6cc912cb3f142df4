import type { Knex } from 'knex';

/** Which processes work on jobs, so that the jobs of one that was killed are taken over within seconds, not hours. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE job_runners (
      -- of the job engine's pool of workers: what it locks jobs with
      pool_id text PRIMARY KEY,
      seen_at timestamptz NOT NULL
    )`);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE job_runners');
}
