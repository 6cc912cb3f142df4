import type { Knex } from 'knex';

/** The processes that work on jobs. The jobs of a killed process are taken over within seconds, not hours. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE job_runners (
      -- the job engine's ID of the pool of workers, with which it locks jobs
      pool_id text PRIMARY KEY,
      seen_at timestamptz NOT NULL
    )`);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE job_runners');
}
