import { createHash } from 'node:crypto';
import type { Knex } from 'knex';
import { currentRequestId } from '../request-id.js';

export interface JobOptions {
  /** A new job replaces one with the same key that still waits; one that runs already is joined by the new one. */
  key: string;
  delayMs?: number;
}

/**
 * Adds a job inside the caller's transaction, so that it exists exactly when the state that asks for it does. It will be
 * done on behalf of the request that is being served now.
 */
export async function enqueue(
  on: Knex,
  task: string,
  payload: object,
  { key, delayMs = 0 }: JobOptions,
): Promise<void> {
  await on.raw(
    `SELECT graphile_worker.add_job(?, payload => ?::json, job_key => ?, run_at => now() + ? * interval '1 ms')`,
    [task, JSON.stringify({ ...payload, requestId: currentRequestId() }), key, delayMs],
  );
}

/** A job key for IDs of Ring's, which may be longer than a key can be. */
export function jobKey(task: string, ...ids: string[]): string {
  return `${task}:${createHash('sha256').update(JSON.stringify(ids)).digest('base64url')}`;
}
