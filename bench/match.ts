import { createHmac, createSecretKey } from 'node:crypto';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Tables } from '../src/database/tables.js';
import { createNonceMatcher } from '../src/linking/match.js';
import { median, printTable, timed } from './report.js';

const POOL_SIZES = [10, 1_000, 10_000];
/** Rows that were claimed long ago. The pool is a small part of the table. */
const CLAIMED = 50_000;
const ROUNDS = 60;
const STALL_ROUNDS = 30;
const WARM_UP_ROUNDS = 10;
const REPETITIONS = 12;
const REPEATED_AFTER_MS = 250;

const HMAC_KEY = 'a-key-as-long-as-the-one-that-ring-issues-to-a-partner';
/** This redirect matches no pair. The worst case is the only one, because every candidate is computed anyway. */
const REQUEST = { nonce: 'A'.repeat(43), time: '1760000000000' };
/** How many redirects come at once, to see how long they keep the event loop together. */
const AT_ONCE = 10;

/** The cost of one match over pools of several sizes, against a bare `createHmac` loop over the same account IDs. */
export async function benchMatch(databaseUrl: string): Promise<void> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 2 });
  const key = createSecretKey(HMAC_KEY, 'utf8');
  const rows: string[][] = [];
  try {
    await insertTokens(pool, 'CLAIMED', CLAIMED);
    for (const size of POOL_SIZES) {
      await pool.query(`DELETE FROM ring_tokens WHERE status = 'UNCLAIMED'`);
      await insertTokens(pool, 'UNCLAIMED', size);
      await pool.query('VACUUM (ANALYZE) ring_tokens');
      const match = createNonceMatcher(pool, key);
      let others = 0;
      const another = () => match({ ...REQUEST, time: `${Number(REQUEST.time) + ++others}` });
      rows.push(await measure(size, pool, another, () => match(REQUEST)));
    }
  } finally {
    await pool.end();
  }
  printTable(
    'Matching one nonce against the pool of unclaimed tokens, read from Postgres. For 10,000, at most 1.3 and no stall over 10 ms',
    [
      'pool',
      'bare loop µs/each',
      'match µs/each',
      'ratio',
      'ratio of CPU time',
      'match ms',
      'longest stall ms',
      `of ${AT_ONCE} at once`,
      'garbage kB',
      'kept kB',
      'again ms',
      'again to bare loop',
    ],
    rows,
  );
}

/**
 * @param match looks for a redirect that has not come before
 * @param again looks for one and the same
 */
async function measure(
  size: number,
  pool: pg.Pool,
  match: () => Promise<unknown>,
  again: () => Promise<unknown>,
): Promise<string[]> {
  const accountIds = await readAccountIds(pool);
  const bare: number[] = [];
  const matched: number[] = [];
  const cpu = { bare: 0, matched: 0 };
  for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round++) {
    const start = process.cpuUsage();
    const bareMs = await timed(() => {
      bareLoop(accountIds);
    });
    const between = process.cpuUsage();
    const matchMs = await timed(match);
    if (round < 0) continue;
    cpu.bare += cpuMs(start, between);
    cpu.matched += cpuMs(between, process.cpuUsage());
    bare.push(bareMs);
    matched.push(matchMs);
  }
  const each = (ms: number) => (ms * 1_000) / size;
  const { garbage, kept } = await memory(match);
  const repeated = await repeat(again);
  return [
    size.toLocaleString('en'),
    each(median(bare)).toFixed(2),
    each(median(matched)).toFixed(2),
    (median(matched) / median(bare)).toFixed(2),
    (cpu.matched / cpu.bare).toFixed(2),
    median(matched).toFixed(2),
    (await longestStall(match)).toFixed(1),
    (await longestStall(() => Promise.all(Array.from({ length: AT_ONCE }, match)))).toFixed(1),
    garbage.toFixed(0),
    kept.toFixed(0),
    repeated.toFixed(2),
    (repeated / median(bare)).toFixed(3),
  ];
}

/** How long it takes to look for the same redirect again, in ms. */
async function repeat(again: () => Promise<unknown>): Promise<number> {
  const repeated: number[] = [];
  await again();
  for (let round = 0; round < REPETITIONS; round++) {
    await delay(REPEATED_AFTER_MS);
    repeated.push(await timed(again));
  }
  return median(repeated);
}

const cpuMs = (start: NodeJS.CpuUsage, end: NodeJS.CpuUsage): number =>
  (end.user + end.system - start.user - start.system) / 1_000;

function bareLoop(accountIds: readonly string[]): void {
  for (const id of accountIds) createHmac('sha256', HMAC_KEY).update(`${REQUEST.time}:${id}`).digest('base64url');
}

/**
 * The longest stall of the event loop in ms, beyond the timer's own 1 ms. It has rounds of its own, because the
 * measuring timer costs time too.
 */
async function longestStall(match: () => Promise<unknown>): Promise<number> {
  const resolutionMs = 1;
  const delays = monitorEventLoopDelay({ resolution: resolutionMs });
  delays.enable();
  for (let round = 0; round < STALL_ROUNDS; round++) await match();
  delays.disable();
  return Math.max(0, delays.max / 1e6 - resolutionMs);
}

/** The memory that one match allocates, and the part of it that a collection leaves, in kB. */
async function memory(match: () => Promise<unknown>): Promise<{ garbage: number; kept: number }> {
  const collect = globalThis.gc;
  if (collect === undefined) throw new Error('run with --expose-gc, as `npm run bench` does');
  const used = () => {
    const { heapUsed, external } = process.memoryUsage();
    return (heapUsed + external) / 1_000;
  };
  collect();
  const before = used();
  await match();
  const after = used();
  collect();
  return { garbage: after - before, kept: used() - before };
}

async function readAccountIds(pool: pg.Pool): Promise<string[]> {
  const { rows } = await pool.query<Pick<Tables['ring_tokens'], 'account_id'>>(
    `SELECT account_id FROM ring_tokens WHERE status = 'UNCLAIMED'`,
  );
  return rows.flatMap(({ account_id }) => account_id ?? []);
}

async function insertTokens(pool: pg.Pool, status: 'CLAIMED' | 'UNCLAIMED', count: number): Promise<void> {
  await pool.query(
    `INSERT INTO ring_tokens (id, status, account_id, key_id, access_token_ciphertext, refresh_token_ciphertext, scope,
                              access_token_expires_at, created_at, pool_place)
     SELECT gen_random_uuid(), $1, 'ava1.ring.account.' || gen_random_uuid(), 'bench', '\\x00', '\\x00', '', now(), now(),
            CASE WHEN $1 = 'UNCLAIMED' THEN nextval('webhook_events_id_seq') END
       FROM generate_series(1, $2)`,
    [status, count],
  );
}
