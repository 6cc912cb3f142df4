import { Registry } from 'prom-client';
import { sql } from '../database/sql.js';
import { ageOf, countOf, gaugesOf, type Reading, type Waiting } from './reading.js';

/** The gauges of the queue's jobs, of which there are some dozens unless something is wrong. */
export function createQueue(): Reading {
  const registry = new Registry();
  const gauge = gaugesOf(registry);

  const jobs = gauge(
    'ring_link_jobs',
    'Jobs in the queue: due (should be running), scheduled (for later, retries included), running, dead (given up by the queue).',
    'state',
  );
  const jobsFailing = gauge(
    'ring_link_jobs_failing',
    'Jobs in the queue whose last attempt has thrown: mistakes of ours or of the database, for calls to Ring are retried by new jobs.',
  );
  const jobsAge = gauge(
    'ring_link_jobs_oldest_due_age_seconds',
    'For how long the job that is due the longest has been due.',
  );

  return {
    name: 'queue',
    registry,
    async read(client) {
      // `now()`, because the queue itself goes by the clock of Postgres.
      const { rows: queue } = await client.query<Waiting & { failing: number }>(
        sql`SELECT CASE WHEN locked_at IS NOT NULL THEN 'running' WHEN attempts >= max_attempts THEN 'dead'
                        WHEN run_at > now() THEN 'scheduled' ELSE 'due' END AS label,
                   count(*)::int AS count,
                   count(*) FILTER (WHERE attempts > 0 AND last_error IS NOT NULL)::int AS failing,
                   coalesce(extract(epoch FROM now() - min(run_at)), 0)::float AS age
              FROM graphile_worker.jobs GROUP BY 1`.numbered,
      );

      for (const state of ['due', 'scheduled', 'running', 'dead']) jobs.set({ state }, countOf(queue, state));
      jobsFailing.set(queue.reduce((sum, { failing }) => sum + failing, 0));
      jobsAge.set(ageOf(queue, 'due'));
    },
  };
}
