import { createHash, type KeyObject, timingSafeEqual } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Pool } from 'pg';
import Cursor from 'pg-cursor';
import type { Tables } from '../database/tables.js';
import { computeNonce, NONCE_LENGTH } from '../ring/nonce.js';
import type { Redirect } from './redirect.js';

/**
 * SQL: the whole pool in one text, because a message for each pair would cost a part of its hash, and the newest place in it.
 * There is no other predicate than the status, because only the nonce says whose pair it is, and no other column, so that a
 * partial index answers by itself. IDs of Ring accounts hold no line breaks.
 */
export const UNCLAIMED_ACCOUNTS = `SELECT string_agg(account_id, chr(10)) AS accounts, max(pool_place) AS newest
  FROM ring_tokens WHERE status = 'UNCLAIMED'`;

/** SQL: the pool again, the pairs that entered last first, so that new ones are at its beginning. Nulls are before them. */
export const NEWEST_UNCLAIMED_ACCOUNTS = `SELECT account_id, pool_place
  FROM ring_tokens WHERE status = 'UNCLAIMED' ORDER BY pool_place DESC`;

type Place = Tables['ring_tokens']['pool_place'];

/** How many pairs are read at once: few at first, because few are new. */
const FIRST_NEW = 20;
const MORE_NEW = 1_000;
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
  const findSigned = createFinder();
  return async (redirect) => {
    const startedAt = performance.now();
    const computedTo = looks.of(redirect);
    const { accounts, newest } = computedTo === undefined ? await readPool(pool) : await readNewest(pool, computedTo);
    const match = await findSigned(accounts, nonceCheck(hmacKey, redirect));
    // A pair that fits is looked for again when its redirect comes again: its claim may fail, and another user try.
    if (match === undefined) looks.note(redirect, newest === null ? (computedTo ?? 0n) : BigInt(newest));
    onMatched?.({ candidates: accounts.length, durationMs: performance.now() - startedAt });
    return match;
  };
}

/**
 * Finds the last account that passes a check, and checks all of them. Finds of several callers are made one after the other,
 * so that together they keep the event loop for no longer than one does.
 */
function createFinder() {
  let underWay: Promise<unknown> = Promise.resolve();
  let turnEndsAt = 0;

  async function find(
    accounts: readonly string[],
    isSigned: (accountId: string) => boolean,
  ): Promise<string | undefined> {
    let match: string | undefined;
    for (const [index, accountId] of accounts.entries()) {
      if (index % CANDIDATES_BETWEEN === 0 && performance.now() > turnEndsAt) {
        await nextTurn();
        turnEndsAt = performance.now() + TURN_MS;
      }
      if (isSigned(accountId)) match = accountId;
    }
    return match;
  }

  return (...search: Parameters<typeof find>): Promise<string | undefined> => {
    const found = underWay.then(() => find(...search));
    underWay = found.catch(() => undefined);
    return found;
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

/** Candidates, and the newest place in the pool, if any was read. */
interface Candidates {
  accounts: readonly string[];
  newest: Place;
}

/** Reads the whole pool. */
async function readPool(pool: Pool): Promise<Candidates> {
  const { rows } = await pool.query<{ accounts: string | null; newest: Place }>(UNCLAIMED_ACCOUNTS);
  const [{ accounts, newest } = { accounts: null, newest: null }] = rows;
  return { accounts: accounts?.split('\n') ?? [], newest };
}

/** Reads the pairs that have no place, and those with a higher place than this one. */
async function readNewest(pool: Pool, computedTo: bigint): Promise<Candidates> {
  const accounts: string[] = [];
  let newest: Place = null;
  const client = await pool.connect();
  let isAtEnd = false;
  try {
    const cursor = client.query(
      new Cursor<[accountId: string, place: Place]>(NEWEST_UNCLAIMED_ACCOUNTS, [], { rowMode: 'array' }),
    );
    for (let size = FIRST_NEW; !isAtEnd; size = MORE_NEW) {
      const pairs = await cursor.read(size);
      const known = pairs.findIndex(([, place]) => place !== null && BigInt(place) <= computedTo);
      const unknown = known === -1 ? pairs : pairs.slice(0, known);
      for (const [accountId, place] of unknown) {
        accounts.push(accountId);
        newest ??= place;
      }
      isAtEnd = known !== -1 || pairs.length < size;
    }
    await cursor.close();
  } finally {
    // A connection in the middle of a cursor can't be used again.
    client.release(!isAtEnd);
  }
  return { accounts, newest };
}
