import { z } from 'zod';
import { lockAccount } from '../ring-accounts/account-lock.js';
import { TELLS_OF_INSTALLATION } from '../ring-accounts/installation.js';
import { row } from '../database/database.js';
import { enqueue } from '../jobs/enqueue.js';
import { retryPauseMs } from '../time/retry-pause.js';
import { RingError } from '../ring/errors.js';
import { ERASE, openAccessToken } from '../tokens/token-pairs.js';
import type { Core } from '../core.js';

/** The job that learns whose token pair was received. */
export const IDENTIFY_ACCOUNT = 'identify_account';

export type IdentifyDependencies = Pick<Core, 'db' | 'ring' | 'vault' | 'clock' | 'log' | 'unclaimedTtlSeconds'>;

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
  await enterPool(dependencies, tokenId, accountId);
}

/**
 * Makes the pair matchable. The newest installation of an account counts; older pairs give way, and so does one whose
 * removal came before we knew whose it is.
 */
async function enterPool({ db }: IdentifyDependencies, tokenId: string, accountId: string): Promise<void> {
  await db.transaction(async (trx) => {
    // One account at a time: two pairs that are identified at the same moment would each miss the other.
    await lockAccount(trx, accountId);
    const pair = await row<{ arrival: string; is_outdated: boolean; is_removed: boolean }>(
      trx,
      `SELECT arrival,
              EXISTS (SELECT 1 FROM ring_tokens AS newer
                       WHERE newer.account_id = ? AND newer.arrival > token.arrival) AS is_outdated,
              EXISTS (SELECT 1 FROM webhook_events AS event
                       WHERE event.account_id = ? AND event.type = 'app_integration_removed'
                         AND ${TELLS_OF_INSTALLATION}) AS is_removed
         FROM ring_tokens AS token WHERE id = ?`,
      [accountId, accountId, tokenId],
    );
    if (pair === undefined) return;
    await trx.raw(
      `UPDATE ring_tokens SET status = 'EXPIRED', ${ERASE}
        WHERE account_id = ? AND status = 'UNCLAIMED' AND arrival <= ?`,
      [accountId, pair.arrival],
    );
    const becomes = (change: string) =>
      `UPDATE ring_tokens SET ${change}, account_id = ? WHERE id = ? AND status = 'RECEIVED'`;
    if (pair.is_removed) await trx.raw(becomes(`status = 'REVOKED', ${ERASE}`), [accountId, tokenId]);
    else if (pair.is_outdated) await trx.raw(becomes(`status = 'EXPIRED', ${ERASE}`), [accountId, tokenId]);
    else await trx.raw(becomes(`status = 'UNCLAIMED'`), [accountId, tokenId]);
  });
}
