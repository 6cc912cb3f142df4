import { randomUUID } from 'node:crypto';
import type { Task } from 'graphile-worker';
import type { Database } from '../database/database.js';
import { sql } from '../database/sql.js';
import { enqueue } from './enqueue.js';

/** Short, because the job that has the lock is about to end. */
const BUSY_PAUSE_MS = 500;

/**
 * A task whose jobs with the same key never run side by side, on any instance: the second is put off for a moment.
 *
 * The lock is held by a connection of its own while the job runs, so it ends with the process even when that is killed. (The
 * engine's own named queues would do the same, but it locks every queue whenever it looks for a job, and loses a job whose
 * queue is deleted at the wrong moment.)
 */
export function oneAtATime(
  database: Database,
  task: string,
  keyOf: (payload: unknown) => string,
  run: (payload: unknown) => Promise<void>,
): Task {
  return async (payload) => {
    const key = keyOf(payload);
    const client = await database.patientPool.connect();
    try {
      const { rows } = await client.query<{ is_locked: boolean }>(
        sql`SELECT pg_try_advisory_lock(hashtextextended(${key}, 1)) AS is_locked`.numbered,
      );
      if (rows[0]?.is_locked !== true) {
        // The job gets a key of its own, so that it replaces no job that was added since.
        const ownKey = `${key}:${randomUUID()}`;
        await enqueue(database.knex, task, payload as object, { key: ownKey, delayMs: BUSY_PAUSE_MS });
        return;
      }
      await run(payload);
    } finally {
      // Closing the connection frees the lock, even after an error.
      client.release(true);
    }
  };
}
