import { type KeyObject, timingSafeEqual } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Pool } from 'pg';
import { computeNonce, NONCE_LENGTH } from '../ring/nonce.js';
import type { LinkRequest } from './link-request.js';

/**
 * The whole pool. No other predicate, because only the nonce says whose pair it is; no other column, so that the partial
 * index answers alone.
 */
export const UNCLAIMED_ACCOUNTS = `SELECT account_id FROM ring_tokens WHERE status = 'UNCLAIMED'`;

/** Candidates between two turns of the event loop: some 3 ms of hashing. */
const BATCH = 2_000;

/**
 * The account ID for which Ring signed this request, if its pair is in the pool. Every candidate is computed and
 * compared in constant time, also after a match, so that the time taken tells only how large the pool is.
 *
 * @see https://developer.amazon.com/docs/ring/developer-faq.html (nonce matching and the unclaimed token pool)
 */
export async function matchNonce(pool: Pool, hmacKey: KeyObject, request: LinkRequest): Promise<string | undefined> {
  const isSigned = nonceCheck(hmacKey, request);
  const { rows } = await pool.query<[accountId: string]>({ text: UNCLAIMED_ACCOUNTS, rowMode: 'array' });
  let match: string | undefined;
  for (let start = 0; start < rows.length; start += BATCH) {
    // A flood of unclaimed pairs makes a match slow, and must not make anything else wait for it.
    if (start > 0) await nextTurn();
    for (const [accountId] of rows.slice(start, start + BATCH)) {
      if (isSigned(accountId)) match = accountId;
    }
  }
  return match;
}

/** A constant-time check whether the request was signed for an account. */
export function nonceCheck(hmacKey: KeyObject, { nonce, time }: LinkRequest): (accountId: string) => boolean {
  const expected = Buffer.from(nonce, 'latin1');
  // One buffer for all candidates: an allocation for each would cost as much as the hash.
  const computed = Buffer.alloc(NONCE_LENGTH);
  return (accountId) => {
    computed.write(computeNonce(hmacKey, time, accountId), 'latin1');
    return timingSafeEqual(computed, expected);
  };
}
