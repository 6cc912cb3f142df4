import type { Knex } from 'knex';

/**
 * Pending webhook events are their own queue: no job is added for a delivery any more. The index leads to the accounts that
 * have some, and to the next of each, without a look at the others.
 *
 * The jobs that wait are not needed: the accounts are found by their events. Instances of before, which run beside for the
 * length of a deployment, may add more. Every instance can do those.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw('DROP INDEX webhook_events_pending');
  await knex.raw(`CREATE INDEX webhook_events_pending ON webhook_events (account_id, id) WHERE status = 'PENDING'`);
  await ifThereAreJobs(
    knex,
    `SELECT graphile_worker.complete_jobs(array_agg(id)) FROM graphile_worker.jobs
      WHERE task_identifier = 'process_inbox' AND locked_at IS NULL HAVING count(*) > 0`,
  );
}

export async function down(knex: Knex): Promise<void> {
  await ifThereAreJobs(
    knex,
    `SELECT graphile_worker.add_job('process_inbox', json_build_object('accountIds', json_agg(DISTINCT account_id)))
       FROM webhook_events WHERE status = 'PENDING' HAVING count(*) > 0`,
  );
  await knex.raw('DROP INDEX webhook_events_pending');
  await knex.raw(`CREATE INDEX webhook_events_pending ON webhook_events (received_at) WHERE status = 'PENDING'`);
}

/** The job engine makes its schema after the first run of our migrations. */
async function ifThereAreJobs(knex: Knex, statement: string): Promise<void> {
  const { rows } = await knex.raw<{ rows: { there: boolean }[] }>(
    `SELECT to_regclass('graphile_worker.jobs') IS NOT NULL AS there`,
  );
  if (rows[0]?.there === true) await knex.raw(statement);
}
