import type { Knex } from 'knex';
import { z } from 'zod';
import type { Core } from '../core.js';
import { enqueue } from '../jobs/enqueue.js';
import { isGone, RingError } from '../ring/errors.js';
import { retryPauseMs } from '../time/retry-pause.js';
import { NoLinkError } from '../tokens/errors.js';

/** The job that closes a live view at Ring. */
export const CLOSE_LIVE_VIEW = 'close_live_view';

/** A session at Ring that is not watched any more. The job holds all of it, because the live view's row may be erased. */
export interface OpenSession {
  liveViewId: string;
  accountId: string;
  sessionPath: string;
  /** The time by which Ring has ended it by itself. */
  expiresAt: Date;
}

const Payload = z.object({
  liveViewId: z.uuid(),
  accountId: z.string(),
  sessionPath: z.string(),
  expiresAt: z.iso.datetime().transform((text) => new Date(text)),
  attempt: z.number().int().min(1),
});

/** A session lives for a minute at most, so a longer pause would be giving up. */
const MAX_PAUSE_MS = 8_000;

/** Has the session closed at Ring by a job; in a transaction, as soon as that is committed. */
export async function enqueueClosing(on: Knex, session: OpenSession, attempt = 1, delayMs = 0): Promise<void> {
  const payload = { ...session, attempt };
  await enqueue(on, CLOSE_LIVE_VIEW, payload, { key: `${CLOSE_LIVE_VIEW}:${session.liveViewId}`, delayMs });
}

/**
 * Closes a session at Ring, and tries again for as long as it can still live. Closing it twice is harmless. A session
 * that has ended by itself counts as closed, and so does one whose device or link is gone.
 */
export async function closeAtRing(
  { db, ring, tokens, clock, log }: Pick<Core, 'db' | 'ring' | 'tokens' | 'clock' | 'log'>,
  payload: unknown,
): Promise<void> {
  const { attempt, ...session } = Payload.parse(payload);
  if (clock() >= session.expiresAt) return;
  try {
    await tokens.forAccount(session.accountId, (accessToken) => ring.closeLiveView(accessToken, session.sessionPath));
  } catch (error) {
    if (isGone(error) || error instanceof NoLinkError) return;
    if (!(error instanceof RingError)) throw error;
    log.warn({ err: error, liveViewId: session.liveViewId, attempt }, 'a live view is not closed at Ring');
    if (error.kind === 'rejected') return;
    await enqueueClosing(db, session, attempt + 1, retryPauseMs(attempt, MAX_PAUSE_MS, error.retryAfterSeconds));
  }
}
