import type { Knex } from 'knex';

export interface JobOptions {
  /** A job with the same key is replaced while it still waits. */
  key: string;
  delayMs?: number;
}

/** Adds a job inside the caller's transaction, so that it exists exactly when the state that asks for it does. */
export async function enqueue(
  on: Knex,
  task: string,
  payload: object,
  { key, delayMs = 0 }: JobOptions,
): Promise<void> {
  await on.raw(
    `SELECT graphile_worker.add_job(?, payload => ?::json, job_key => ?, run_at => now() + ? * interval '1 ms')`,
    [task, JSON.stringify(payload), key, delayMs],
  );
}

/** Exponential backoff in ms: 1 s, 2 s, 4 s … up to the cap. `attempt` counts from 1. */
export function backoffMs(attempt: number, capMs: number): number {
  return Math.min(capMs, 1_000 * 2 ** Math.min(attempt - 1, 20));
}
