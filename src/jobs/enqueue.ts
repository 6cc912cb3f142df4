import { createHash } from 'node:crypto';
import type { Knex } from 'knex';
import { run, sql } from '../database/sql.js';
import { currentRequestId } from '../request-id.js';

export interface JobOptions {
  /** A new job replaces one with the same key that still waits. A job that runs already stays, and the new one follows. */
  key: string;
  delayMs?: number;
}

/**
 * Adds a job, which runs on behalf of the request that is being served now.
 *
 * @param on the transaction that makes the job necessary, so that the job exists exactly when the state that asks for it
 *   does. The database itself only where no state is changed: a call to Ring is tried again, a job goes on later.
 */
export async function enqueue(
  on: Knex,
  task: string,
  payload: object,
  { key, delayMs = 0 }: JobOptions,
): Promise<void> {
  const json = JSON.stringify({ ...payload, requestId: currentRequestId() });
  await run(
    on,
    sql`SELECT graphile_worker.add_job(${task}, payload => ${json}::json, job_key => ${key},
                                       run_at => now() + ${delayMs} * interval '1 ms')`,
  );
}

/** A job key from Ring's IDs. They are hashed, because they may be longer than a key can be. */
export function jobKey(task: string, ...ids: string[]): string {
  return `${task}:${createHash('sha256').update(JSON.stringify(ids)).digest('base64url')}`;
}
