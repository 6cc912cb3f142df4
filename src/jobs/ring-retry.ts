import type { Knex } from 'knex';
import type { Logger } from 'pino';
import { RingError } from '../ring/errors.js';
import { enqueue } from './enqueue.js';
import { retryPauseMs } from '../time/retry-pause.js';

/** Nobody waits for these calls. */
const MAX_PAUSE_MS = 10 * 60_000;
/** An answer that makes no sense may come from something in between, which gets well; or it may not. */
const MOST_MALFORMED = 8;

/**
 * After a failed call to Ring, adds the job once more with a growing pause, for as long as Ring is away. When Ring has
 * said no, or answers what nobody understands, the same call would get the same answer: it is left at that.
 *
 * @throws the error, if it is not Ring's doing, so that the queue shows it
 */
export async function retryRingCall(
  { db, log }: { db: Knex; log: Logger },
  task: string,
  job: { attempt: number },
  key: string,
  error: unknown,
): Promise<void> {
  if (!(error instanceof RingError)) throw error;
  const isNo = error.kind === 'rejected' || error.kind === 'unauthorized';
  const isFinal = isNo || (error.kind === 'malformed' && job.attempt >= MOST_MALFORMED);
  log.warn(
    { err: error, task, attempt: job.attempt },
    isFinal ? 'Ring was asked in vain' : 'Ring could not be asked; trying again',
  );
  if (isFinal) return;
  const delayMs = retryPauseMs(job.attempt, MAX_PAUSE_MS, error.retryAfterSeconds);
  await enqueue(db, task, { ...job, attempt: job.attempt + 1 }, { key, delayMs });
}
