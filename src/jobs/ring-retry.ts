import type { Knex } from 'knex';
import type { Logger } from 'pino';
import { RingError } from '../ring/errors.js';
import { retryPauseMs } from '../time/retry-pause.js';
import { enqueue } from './enqueue.js';

/** Long, because no user waits for these calls. */
const MAX_PAUSE_MS = 10 * 60_000;
/** A malformed answer may come from a proxy in between, and be better soon; after so many it is taken for Ring's. */
const MOST_MALFORMED = 8;

/**
 * Adds the job of a failed call to Ring once more with a growing pause, for as long as Ring is away. After a refusal, or
 * after {@link MOST_MALFORMED} malformed answers, it adds none, because the same call would get the same answer.
 *
 * @throws the error, if it is not a {@link RingError}, so that the queue shows it
 */
export async function retryRingCall(
  { db, log }: { db: Knex; log: Logger },
  task: string,
  job: { attempt: number },
  key: string,
  error: unknown,
): Promise<void> {
  if (!(error instanceof RingError)) throw error;
  const isRefusal = error.kind === 'rejected' || error.kind === 'unauthorized';
  const isFinal = isRefusal || (error.kind === 'malformed' && job.attempt >= MOST_MALFORMED);
  log.warn(
    { err: error, task, attempt: job.attempt },
    isFinal ? 'Ring was asked in vain' : 'Ring could not be asked; trying again',
  );
  if (isFinal) return;
  const delayMs = retryPauseMs(job.attempt, MAX_PAUSE_MS, error.retryAfterSeconds);
  await enqueue(db, task, { ...job, attempt: job.attempt + 1 }, { key, delayMs });
}
