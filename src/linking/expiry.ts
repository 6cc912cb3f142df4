import type { Core } from '../core.js';
import { expirePairs, purgeExpiredPairsBefore } from '../tokens/pair-rows.js';
import { purgeExchangesBefore } from './exchange-rows.js';

/** A day. A code lives 60 s, and Ring sends none again as late as this. */
const EXCHANGE_RETENTION_MS = 24 * 60 * 60 * 1_000;
/** Longer than a code lives, so that one that is sent again and again is asked for once. */
const REFUSED_RETENTION_MS = 5 * 60 * 1_000;
const EXPIRED_RETENTION_MS = 30 * 24 * 60 * 60 * 1_000;

/**
 * Expires pairs that were not claimed in time, and erases their tokens, so that the pool, which every match walks, stays
 * small. Safe on every instance at once.
 *
 * @returns how many
 */
export async function expireUnclaimedPairs({
  db,
  clock,
  unclaimedTtlSeconds,
}: Pick<Core, 'db' | 'clock' | 'unclaimedTtlSeconds'>): Promise<number> {
  const createdBefore = new Date(clock().getTime() - unclaimedTtlSeconds * 1_000);
  const received = await expirePairs(db, 'RECEIVED', createdBefore);
  return received + (await expirePairs(db, 'UNCLAIMED', createdBefore));
}

/** Purges the digests of codes that can't come again. */
export async function purgeExchanges({ db, clock }: Pick<Core, 'db' | 'clock'>): Promise<void> {
  const now = clock().getTime();
  await purgeExchangesBefore(db, new Date(now - EXCHANGE_RETENTION_MS), new Date(now - REFUSED_RETENTION_MS));
}

/** Purges what is left of pairs that expired: the IDs of Ring accounts that were never linked with them. */
export async function purgeExpiredPairs({ db, clock }: Pick<Core, 'db' | 'clock'>): Promise<void> {
  await purgeExpiredPairsBefore(db, new Date(clock().getTime() - EXPIRED_RETENTION_MS));
}
