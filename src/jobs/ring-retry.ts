import type { Knex } from 'knex';
import type { Logger } from 'pino';
import { RingError } from '../ring/errors.js';
import { enqueue, retryPauseMs } from './enqueue.js';

/** Ring was away for hours: its users do not wait for these calls. */
const MAX_PAUSE_MS = 10 * 60_000;

/**
 * After a failed call to Ring, adds the job once more with a growing pause, for as long as Ring is away. When Ring has
 * said no, the same call would get the same answer: it is left at that.
 *
 * @throws the error, if it is not Ring's doing, so that the queue shows it
 */
export async function retryRingCall(
  { database, log }: { database: Knex; log: Logger },
  task: string,
  job: { attempt: number },
  key: string,
  error: unknown,
): Promise<void> {
  if (!(error instanceof RingError)) throw error;
  const isFinal = error.kind === 'rejected' || error.kind === 'unauthorized';
  log.warn(
    { err: error, task, attempt: job.attempt },
    isFinal ? 'Ring said no' : 'Ring could not be asked; trying again',
  );
  if (isFinal) return;
  const delayMs = retryPauseMs(job.attempt, MAX_PAUSE_MS, error.retryAfterSeconds);
  await enqueue(database, task, { ...job, attempt: job.attempt + 1 }, { key, delayMs });
}
