import { createHash, type KeyObject, timingSafeEqual } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Pool } from 'pg';
import Cursor from 'pg-cursor';
import type { Tables } from '../database/tables.js';
import { computeNonce, NONCE_LENGTH } from '../ring/nonce.js';
import type { Redirect } from './redirect.js';

/**
 * SQL: the whole pool, the pairs that entered last first. There is no other predicate, because only the nonce says whose pair
 * it is, and no other column, so that a partial index answers by itself. Nulls, which come first, may be of any age.
 */
export const UNCLAIMED_ACCOUNTS = `SELECT account_id, pool_place FROM ring_tokens WHERE status = 'UNCLAIMED'
  ORDER BY pool_place DESC`;

type PooledPair = [accountId: string, place: Tables['ring_tokens']['pool_place']];

/** How many pairs are read at once, after the first of them when only new ones are wanted. */
const BATCH = 1_000;
const FIRST_NEW = 20;
/** How long the event loop is kept between two of its turns, in ms, and after how many candidates the time is looked at. */
const TURN_MS = 4;
const CANDIDATES_BETWEEN = 64;

/** How much one look into the pool took, whether or not a pair fitted. */
export interface MatchReport {
  /** The pairs that a nonce was computed for. */
  candidates: number;
  durationMs: number;
}

/**
 * Finds the Ring account for which Ring signed this redirect, if its pair is in the pool. Every candidate is computed and
 * compared in constant time, also after a match, so that the time taken tells only how many there are. When the same redirect
 * comes again, these are the pairs that have entered the pool since.
 *
 * @see https://developer.amazon.com/docs/ring/developer-faq.html (nonce matching and the unclaimed token pool)
 */
export type NonceMatcher = (redirect: Redirect) => Promise<string | undefined>;

export function createNonceMatcher(
  pool: Pool,
  hmacKey: KeyObject,
  onMatched?: (report: MatchReport) => void,
): NonceMatcher {
  const looks = rememberLooks();
  return async (redirect) => {
    const startedAt = performance.now();
    const isSigned = nonceCheck(hmacKey, redirect);
    const computedTo = looks.of(redirect);
    let highest: string | null = null;
    let match: PooledPair | undefined;
    let candidates = 0;
    let turnEndsAt = performance.now() + TURN_MS;
    for await (const batch of pairsAfter(pool, computedTo)) {
      highest ??= batch.find(([, place]) => place !== null)?.[1] ?? null;
      for (const pair of batch) {
        if (isSigned(pair[0])) match = pair;
        candidates += 1;
        if (candidates % CANDIDATES_BETWEEN === 0 && performance.now() > turnEndsAt) {
          await nextTurn();
          turnEndsAt = performance.now() + TURN_MS;
        }
      }
    }
    // A pair that fits is found again: its claim may fail, and another user try.
    const found = match?.[1] ?? null;
    if (found !== null) looks.note(redirect, BigInt(found) - 1n);
    else looks.note(redirect, highest === null ? (computedTo ?? 0n) : BigInt(highest));
    onMatched?.({ candidates, durationMs: performance.now() - startedAt });
    return match?.[0];
  };
}

/** Longer than a page waits between two looks, and than it takes to click once more, in ms. */
const REMEMBERED_MS = 15_000;
const MOST_REMEMBERED = 1_000;

/**
 * Remembers how far the pool was computed for the redirects that came lately: every pair with this place, or a lower one, does
 * not fit. Places are given in the order of commits, so that none of them enters the pool later; see `identifyPair`. Of a
 * redirect only a digest is kept.
 */
function rememberLooks() {
  /** The oldest first. */
  const looks = new Map<string, { computedTo: bigint; until: number }>();
  const keyOf = ({ nonce, time }: Redirect) => createHash('sha256').update(`${time}:${nonce}`).digest('base64url');
  return {
    of(redirect: Redirect): bigint | undefined {
      const look = looks.get(keyOf(redirect));
      return look !== undefined && performance.now() < look.until ? look.computedTo : undefined;
    },
    note(redirect: Redirect, computedTo: bigint): void {
      const now = performance.now();
      const key = keyOf(redirect);
      looks.delete(key);
      looks.set(key, { computedTo, until: now + REMEMBERED_MS });
      for (const [oldest, { until }] of looks) {
        if (looks.size <= MOST_REMEMBERED && now < until) break;
        looks.delete(oldest);
      }
    },
  };
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

/**
 * Reads the pool in batches, down to a place. The next batch is on its way while the caller works on this one.
 *
 * @param computedTo the place; undefined for the whole pool
 */
async function* pairsAfter(pool: Pool, computedTo: bigint | undefined): AsyncGenerator<PooledPair[]> {
  const client = await pool.connect();
  let isAtEnd = false;
  try {
    const cursor = client.query(new Cursor<PooledPair>(UNCLAIMED_ACCOUNTS, [], { rowMode: 'array' }));
    let size = computedTo === undefined ? BATCH : FIRST_NEW;
    let next = cursor.read(size);
    while (!isAtEnd) {
      const pairs = await next;
      const known = computedTo === undefined ? -1 : pairs.findIndex(([, place]) => isUpTo(computedTo, place));
      isAtEnd = known !== -1 || pairs.length < size;
      size = BATCH;
      if (!isAtEnd) next = cursor.read(size);
      yield known === -1 ? pairs : pairs.slice(0, known);
    }
    await cursor.close();
  } finally {
    // A connection in the middle of a cursor can't be used again.
    client.release(!isAtEnd);
  }
}

const isUpTo = (computedTo: bigint, place: string | null): boolean => place !== null && BigInt(place) <= computedTo;
