import { type KeyObject, timingSafeEqual } from 'node:crypto';
import type { Pool } from 'pg';
import Cursor from 'pg-cursor';
import { computeNonce, NONCE_LENGTH } from '../ring/nonce.js';
import type { Redirect } from './redirect.js';

/**
 * SQL: the whole pool. There is no other predicate, because only the nonce says whose pair it is, and no other column, so that
 * the partial index answers by itself.
 */
export const UNCLAIMED_ACCOUNTS = `SELECT account_id FROM ring_tokens WHERE status = 'UNCLAIMED'`;

/** How many candidates are hashed between two turns of the event loop. They take some 2 ms. */
const BATCH = 1_000;

/** How much one walk through the pool took, whether or not a pair fitted. */
export interface MatchReport {
  candidates: number;
  durationMs: number;
}

/**
 * Finds the Ring account for which Ring signed this redirect, if its pair is in the pool. Every candidate is computed and
 * compared in constant time, also after a match, so that the time taken tells only how large the pool is.
 *
 * @see https://developer.amazon.com/docs/ring/developer-faq.html (nonce matching and the unclaimed token pool)
 */
export async function matchNonce(
  pool: Pool,
  hmacKey: KeyObject,
  redirect: Redirect,
  onMatched?: (report: MatchReport) => void,
): Promise<string | undefined> {
  const isSigned = nonceCheck(hmacKey, redirect);
  const startedAt = performance.now();
  let match: string | undefined;
  let candidates = 0;
  for await (const batch of unclaimedAccounts(pool)) {
    candidates += batch.length;
    for (const [accountId] of batch) {
      if (isSigned(accountId)) match = accountId;
    }
  }
  onMatched?.({ candidates, durationMs: performance.now() - startedAt });
  return match;
}

/** A constant-time check whether the redirect was signed for a Ring account. */
export function nonceCheck(hmacKey: KeyObject, { nonce, time }: Redirect): (accountId: string) => boolean {
  const expected = Buffer.from(nonce, 'latin1');
  // One buffer for all candidates: an allocation for each would cost as much as the hash.
  const computed = Buffer.alloc(NONCE_LENGTH);
  return (accountId) => {
    computed.write(computeNonce(hmacKey, time, accountId), 'latin1');
    return timingSafeEqual(computed, expected);
  };
}

/** Reads the pool in batches. The next batch is on its way while the caller works on this one. */
async function* unclaimedAccounts(pool: Pool): AsyncGenerator<[accountId: string][]> {
  const client = await pool.connect();
  let isAtEnd = false;
  try {
    const cursor = client.query(new Cursor<[string]>(UNCLAIMED_ACCOUNTS, [], { rowMode: 'array' }));
    let next = cursor.read(BATCH);
    while (!isAtEnd) {
      const rows = await next;
      isAtEnd = rows.length < BATCH;
      if (!isAtEnd) next = cursor.read(BATCH);
      yield rows;
    }
    await cursor.close();
  } finally {
    // A connection in the middle of a cursor can't be used again.
    client.release(!isAtEnd);
  }
}
