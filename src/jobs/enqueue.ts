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

/**
 * How long to wait before the next attempt, in ms: 1 s, 2 s, 4 s … up to the cap, and never less than Ring asked for.
 *
 * @param attempt the one that has just failed, counted from 1
 */
export function retryPauseMs(attempt: number, capMs: number, retryAfterSeconds = 0): number {
  const backoffMs = Math.min(capMs, 1_000 * 2 ** Math.min(attempt - 1, 20));
  return Math.max(backoffMs, retryAfterSeconds * 1_000);
}
