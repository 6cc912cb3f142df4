import { z } from 'zod';
import { lockAccount } from '../ring-accounts/account-lock.js';
import { row } from '../database/database.js';
import { enqueue } from '../jobs/enqueue.js';
import { retryPauseMs } from '../time/retry-pause.js';
import { RingError } from '../ring/errors.js';
import { ERASE, openAccessToken } from '../tokens/token-pairs.js';
import type { Core } from '../core.js';

/** The job that learns whose token pair was received. */
export const IDENTIFY_ACCOUNT = 'identify_account';

export type IdentifyDependencies = Pick<
  Core,
  'db' | 'ring' | 'vault' | 'clock' | 'log' | 'unclaimedTtlSeconds' | 'linkClockSkewSeconds'
>;

const Payload = z.object({ tokenId: z.uuid(), attempt: z.number().int().min(1) });

/** A user may be waiting in the browser for exactly this. */
const MAX_PAUSE_MS = 15_000;

/**
 * Asks Ring for the account behind a received pair and puts the pair into the pool of unclaimed ones. A failure is
 * tried again until the pair is too old to be claimed; a pair that is gone or already identified is left alone.
 */
export async function identifyAccount(dependencies: IdentifyDependencies, payload: unknown): Promise<void> {
  const { tokenId, attempt } = Payload.parse(payload);
  const { db, ring, vault, clock, log, unclaimedTtlSeconds } = dependencies;
  const token = await row<{ key_id: string; access_token_ciphertext: Buffer; created_at: Date }>(
    db,
    `SELECT key_id, access_token_ciphertext, created_at FROM ring_tokens WHERE id = ? AND status = 'RECEIVED'`,
    [tokenId],
  );
  const oldest = clock().getTime() - unclaimedTtlSeconds * 1_000;
  if (token === undefined || token.created_at.getTime() < oldest) return;

  let accountId: string;
  try {
    accountId = await ring.getAccountId(openAccessToken(vault, tokenId, token));
  } catch (error) {
    const retryAfterSeconds = error instanceof RingError ? error.retryAfterSeconds : undefined;
    log.warn({ err: error, tokenId, attempt }, 'the account of a token pair is not known yet; trying again');
    await enqueue(
      db,
      IDENTIFY_ACCOUNT,
      { tokenId, attempt: attempt + 1 },
      { key: `${IDENTIFY_ACCOUNT}:${tokenId}`, delayMs: retryPauseMs(attempt, MAX_PAUSE_MS, retryAfterSeconds) },
    );
    return;
  }
  await enterPool(dependencies, { tokenId, accountId, createdAt: token.created_at });
}

/**
 * Makes the pair matchable. The newest installation of an account counts; whatever is older gives way, and so does one that
 * the user has removed again before we knew whose it is.
 */
async function enterPool(
  { db, linkClockSkewSeconds }: IdentifyDependencies,
  { tokenId, accountId, createdAt }: { tokenId: string; accountId: string; createdAt: Date },
): Promise<void> {
  await db.transaction(async (trx) => {
    // One account at a time: two pairs that are identified at the same moment would each miss the other.
    await lockAccount(trx, accountId);
    const newer = await row(trx, 'SELECT 1 FROM ring_tokens WHERE account_id = ? AND created_at > ? LIMIT 1', [
      accountId,
      createdAt,
    ]);
    const removal = await row(
      trx,
      `SELECT 1 FROM webhook_events
        WHERE account_id = ? AND type = 'app_integration_removed' AND occurred_at >= ? LIMIT 1`,
      [accountId, new Date(createdAt.getTime() - linkClockSkewSeconds * 1_000)],
    );
    await trx.raw(
      `UPDATE ring_tokens SET status = 'EXPIRED', ${ERASE} WHERE account_id = ? AND status = 'UNCLAIMED' AND created_at <= ?`,
      [accountId, createdAt],
    );
    const becomes = (change: string) =>
      `UPDATE ring_tokens SET ${change}, account_id = ? WHERE id = ? AND status = 'RECEIVED'`;
    if (removal !== undefined) await trx.raw(becomes(`status = 'REVOKED', ${ERASE}`), [accountId, tokenId]);
    else if (newer !== undefined) await trx.raw(becomes(`status = 'EXPIRED', ${ERASE}`), [accountId, tokenId]);
    else await trx.raw(becomes(`status = 'UNCLAIMED'`), [accountId, tokenId]);
  });
}
