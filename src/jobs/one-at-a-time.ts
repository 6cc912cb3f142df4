import { randomUUID } from 'node:crypto';
import type { Task } from 'graphile-worker';
import type { Database } from '../database/database.js';
import { enqueue } from './enqueue.js';

/** Soon: whoever has the lock is about to be done. */
const BUSY_PAUSE_MS = 500;

/**
 * A task whose jobs with the same key never run side by side, on any instance: the second comes back a little later.
 *
 * The lock lives on a connection of its own for as long as the job runs, and ends with it, even if the process is killed.
 * (The engine's own named queues would do the same, but it locks every queue there is whenever it looks for a job, and
 * loses a job whose queue is deleted at the wrong moment.)
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
        'SELECT pg_try_advisory_lock(hashtextextended($1, 1)) AS is_locked',
        [key],
      );
      if (rows[0]?.is_locked !== true) {
        // Under a key of its own, so that it replaces none that has come since.
        const ownKey = `${key}:${randomUUID()}`;
        await enqueue(database.knex, task, payload as object, { key: ownKey, delayMs: BUSY_PAUSE_MS });
        return;
      }
      await run(payload);
    } finally {
      // Together with the connection: then the lock is certainly gone, whatever has become of the job.
      client.release(true);
    }
  };
}
