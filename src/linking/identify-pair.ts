import type { Knex } from 'knex';
import { z } from 'zod';
import type { Core } from '../core.js';
import { row, sql } from '../database/sql.js';
import { enqueue } from '../jobs/enqueue.js';
import { lockAccount } from '../ring-accounts/account-lock.js';
import { TELLS_OF_INSTALLATION } from '../ring-accounts/installation.js';
import { RingError } from '../ring/errors.js';
import { retryPauseMs } from '../time/retry-pause.js';
import { expireOlderPairs, identifyPair, type PairRow } from '../tokens/pair-rows.js';
import { openAccessToken, type SealedPair } from '../tokens/token-pairs.js';

/** The job that asks Ring whose a received pair is. */
export const IDENTIFY_ACCOUNT = 'identify_account';

const Payload = z.object({ tokenId: z.uuid(), attempt: z.number().int().min(1) });

/** Short, because a user may be waiting in the browser for this. */
const MAX_PAUSE_MS = 15_000;

/** Adds the job that asks Ring whose a received pair is. It replaces one that still waits. */
export function enqueueIdentification(on: Knex, tokenId: string, attempt = 1, delayMs = 0): Promise<void> {
  return enqueue(on, IDENTIFY_ACCOUNT, { tokenId, attempt }, { key: `${IDENTIFY_ACCOUNT}:${tokenId}`, delayMs });
}

/**
 * Asks Ring for the account of a received pair and puts the pair into the pool of unclaimed ones. A failure is tried again
 * until the pair is too old to be claimed. A pair that is gone or already identified is left alone.
 */
export async function identifyAccount(
  core: Pick<Core, 'db' | 'ring' | 'vault' | 'clock' | 'log' | 'unclaimedTtlSeconds'>,
  payload: unknown,
): Promise<void> {
  const { tokenId, attempt } = Payload.parse(payload);
  const { db, ring, vault, clock, log, unclaimedTtlSeconds } = core;
  const pair = await row<Pick<SealedPair, 'key_id' | 'access_token_ciphertext'> & Pick<PairRow, 'created_at'>>(
    db,
    sql`SELECT key_id, access_token_ciphertext, created_at FROM ring_tokens
         WHERE id = ${tokenId} AND status = 'RECEIVED'`,
  );
  const oldest = clock().getTime() - unclaimedTtlSeconds * 1_000;
  if (pair === undefined || pair.created_at.getTime() < oldest) return;

  let accountId: string;
  try {
    accountId = await ring.getAccountId(openAccessToken(vault, tokenId, pair));
  } catch (error) {
    const retryAfterSeconds = error instanceof RingError ? error.retryAfterSeconds : undefined;
    log.warn({ err: error, tokenId, attempt }, 'the account of a token pair is not known yet; trying again');
    await enqueueIdentification(db, tokenId, attempt + 1, retryPauseMs(attempt, MAX_PAUSE_MS, retryAfterSeconds));
    return;
  }
  await enterPool(db, tokenId, accountId);
}

/**
 * Makes the pair matchable, as the account's only one: older pairs expire. The pair itself ends when a newer installation has
 * brought another, or when the app was removed before we knew whose the pair is.
 */
async function enterPool(db: Knex, tokenId: string, accountId: string): Promise<void> {
  await db.transaction(async (trx) => {
    // Without the lock, two pairs of one account that are identified at the same moment would each miss the other.
    await lockAccount(trx, accountId);
    const pair = await row<Pick<PairRow, 'arrival'> & { is_outdated: boolean; is_removed: boolean }>(
      trx,
      sql`SELECT arrival,
                 EXISTS (SELECT 1 FROM ring_tokens AS newer
                          WHERE newer.account_id = ${accountId} AND newer.arrival > token.arrival) AS is_outdated,
                 EXISTS (SELECT 1 FROM webhook_events AS event
                          WHERE event.account_id = ${accountId} AND event.type = 'app_integration_removed'
                            AND ${TELLS_OF_INSTALLATION}) AS is_removed
            FROM ring_tokens AS token WHERE id = ${tokenId}`,
    );
    if (pair === undefined) return;
    await expireOlderPairs(trx, accountId, pair.arrival);
    const ending = pair.is_removed ? 'REVOKED' : pair.is_outdated ? 'EXPIRED' : undefined;
    await identifyPair(trx, tokenId, accountId, ending ?? 'UNCLAIMED');
  });
}
