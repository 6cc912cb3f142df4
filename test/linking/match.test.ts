import { createHmac, createSecretKey } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import knex, { type Knex } from 'knex';
import pg from 'pg';
import {
  createNonceMatcher,
  NEWEST_UNCLAIMED_ACCOUNTS,
  nonceCheck,
  UNCLAIMED_ACCOUNTS,
} from '../../src/linking/match.js';
import { identifyPair } from '../../src/tokens/pair-rows.js';
import { insertPairs } from '../support/features/pairs.js';
import { until } from '../support/waiting/until.js';
import { createTestDatabase, type TestDatabase } from '../support/worlds/postgres.js';

const KEY = 'ring-signing-key';
const HMAC_KEY = createSecretKey(KEY, 'utf8');
const TIME = '1790000000000';

/** A redirect for this account, computed without the code under test. */
const requestFor = (account: string, time = TIME) => ({
  nonce: createHmac('sha256', KEY).update(`${time}:${account}`).digest('base64url'),
  time,
});

const numbered = (n: number) => `account-${`${n}`.padStart(6, '0')}`;

let database: TestDatabase;
let pool: pg.Pool;
beforeAll(async () => {
  database = await createTestDatabase();
  pool = new pg.Pool({ connectionString: database.url, max: 2 });
  // Dropping the database closes connections that are still open.
  pool.on('error', () => undefined);
});
beforeEach(() => pool.query('TRUNCATE ring_tokens CASCADE'));
afterAll(async () => {
  await pool.end();
  await database.drop();
});

/** Looks for a redirect that has not come before. */
const match = (request: { nonce: string; time: string }) => createNonceMatcher(pool, HMAC_KEY)(request);

describe('matching a nonce against the pool of unclaimed pairs', () => {
  test('knows the nonce that openssl made', async () => {
    await insertPairs(pool, { status: 'UNCLAIMED', count: 5 });
    await pool.query(`UPDATE ring_tokens SET account_id = 'ava1.ring.account.AEXAMPLE' WHERE account_id LIKE '%3'`);
    const request = { nonce: 'eqLxmp-hxr_AkvL_mksqrvBxY-4tKMimyV4WQAtMyms', time: '1790000000020' };
    expect(await match(request)).toBe('ava1.ring.account.AEXAMPLE');
    expect(await match({ ...request, time: '1790000000021' })).toBeUndefined();
  });

  test.each([0, 1, 2, 999, 1_000, 1_001, 2_000, 2_500])(
    'finds each end and the middle of a pool of %i, and no other pair',
    async (count) => {
      await insertPairs(pool, { status: 'UNCLAIMED', count, account: 'account-' });
      const wanted = count === 0 ? [] : [1, Math.ceil(count / 2), count];
      for (const n of wanted) expect(await match(requestFor(numbered(n)))).toBe(numbered(n));
      expect(await match(requestFor(numbered(count + 1)))).toBeUndefined();
    },
  );

  test.each(['RECEIVED', 'CLAIMED', 'EXPIRED', 'REVOKED'] as const)(
    'does not see a pair that is %s',
    async (status) => {
      await insertPairs(pool, { status: 'UNCLAIMED' });
      await insertPairs(pool, { status, account: 'account-' });
      expect(await match(requestFor(numbered(1)))).toBeUndefined();
    },
  );

  test('takes neither another account’s nonce nor one of the same account for another time', async () => {
    await insertPairs(pool, { status: 'UNCLAIMED', count: 50, account: 'account-' });
    const { nonce } = requestFor(numbered(7));
    expect(await match({ nonce, time: `${Number(TIME) + 1}` })).toBeUndefined();
    expect(
      await match({ nonce: `${nonce.slice(0, -1)}${nonce.endsWith('A') ? 'E' : 'A'}`, time: TIME }),
    ).toBeUndefined();
    expect(await match(requestFor('account-7'))).toBeUndefined();
  });

  test('gives every connection back, also when it finds nothing', async () => {
    await insertPairs(pool, { status: 'UNCLAIMED', count: 1_000, account: 'account-' });
    for (let n = 1; n <= 6; n += 1) await match(requestFor(numbered(n * 200)));
    const all = await Promise.all(Array.from({ length: 20 }, (_, n) => match(requestFor(numbered(n + 1)))));
    expect(all).toEqual(Array.from({ length: 20 }, (_, n) => numbered(n + 1)));
    expect({ inUse: pool.totalCount - pool.idleCount, waiting: pool.waitingCount }).toEqual({ inUse: 0, waiting: 0 });
  });

  test('gives its connection back when the database fails it', async () => {
    const broken = new pg.Pool({ connectionString: database.url, max: 1, statement_timeout: 200 });
    const locker = await pool.connect();
    try {
      await locker.query('BEGIN; LOCK TABLE ring_tokens IN ACCESS EXCLUSIVE MODE');
      await expect(createNonceMatcher(broken, HMAC_KEY)(requestFor('x'))).rejects.toThrow('statement timeout');
    } finally {
      await locker.query('ROLLBACK');
      locker.release();
    }
    expect(await createNonceMatcher(broken, HMAC_KEY)(requestFor('x'))).toBeUndefined();
    await broken.end();
  });

  test('computes the nonce of every candidate, also after it has found the one', async () => {
    const computed = new Map<string, number>();
    // An account ID that counts how often it becomes part of a hashed text.
    const counting = (value: string) => ({
      toString: () => {
        computed.set(value, (computed.get(value) ?? 0) + 1);
        return value;
      },
    });
    pg.types.setTypeParser(pg.types.builtins.TEXT, (value: string) => ({
      split: (separator: string) => value.split(separator).map(counting),
    }));
    try {
      await insertPairs(pool, { status: 'UNCLAIMED', count: 2_500, account: 'account-' });
      await pool.query('VACUUM ANALYZE ring_tokens');
      const found: unknown = await match(requestFor(numbered(1)));
      expect(computed.size).toBe(2_500);
      expect(new Set(computed.values())).toEqual(new Set([1]));
      expect(String(found)).toBe(numbered(1));
    } finally {
      pg.types.setTypeParser(pg.types.builtins.TEXT, String);
    }
  });

  test('one check serves any number of candidates in any order', () => {
    const isSigned = nonceCheck(HMAC_KEY, requestFor('b'));
    expect(['a', 'b', 'c', 'b', '', 'B'].map(isSigned)).toEqual([false, true, false, true, false, false]);
  });
});

describe('the same redirect again', () => {
  /** Looks for a redirect, and tells what it computed for it. */
  function watched() {
    let candidates = 0;
    const look = createNonceMatcher(pool, HMAC_KEY, (report) => ({ candidates } = report));
    return async (request: { nonce: string; time: string }) => ({ found: await look(request), candidates });
  }

  test('is computed for the pairs alone that have entered the pool since', async () => {
    const look = watched();
    await insertPairs(pool, { status: 'UNCLAIMED', count: 1_500 });
    const request = requestFor('late-000002');
    expect(await look(request)).toEqual({ found: undefined, candidates: 1_500 });
    expect(await look(request)).toEqual({ found: undefined, candidates: 0 });

    await insertPairs(pool, { status: 'UNCLAIMED', count: 45, account: 'others-' });
    expect(await look(request)).toEqual({ found: undefined, candidates: 45 });

    await insertPairs(pool, { status: 'UNCLAIMED', count: 3, account: 'late-' });
    expect(await look(request)).toEqual({ found: 'late-000002', candidates: 3 });
  });

  test('finds its pair as often as it comes: the pair’s claim may have failed', async () => {
    const look = watched();
    await insertPairs(pool, { status: 'UNCLAIMED', count: 100, account: 'account-' });
    const request = requestFor(numbered(99));
    for (let time = 0; time < 2; time += 1) expect((await look(request)).found).toBe(numbered(99));

    const late = requestFor('late-000001');
    expect((await look(late)).found).toBeUndefined();
    await insertPairs(pool, { status: 'UNCLAIMED', count: 5, account: 'late-' });
    for (let time = 0; time < 2; time += 1) expect(await look(late)).toEqual({ found: 'late-000001', candidates: 5 });
  });

  test('finds a pair that has entered a pool that was empty', async () => {
    const look = watched();
    expect(await look(requestFor(numbered(1)))).toEqual({ found: undefined, candidates: 0 });
    await insertPairs(pool, { status: 'UNCLAIMED', account: 'account-' });
    expect(await look(requestFor(numbered(1)))).toEqual({ found: numbered(1), candidates: 1 });
  });

  test('is computed each time for pairs that have no place, because an older build has put them into the pool', async () => {
    const look = watched();
    await insertPairs(pool, { status: 'UNCLAIMED', count: 1_200 });
    await look(requestFor(numbered(1)));
    await insertPairs(pool, { status: 'UNCLAIMED', count: 30, account: 'older-build-', isPlaced: false });
    expect(await look(requestFor(numbered(1)))).toEqual({ found: undefined, candidates: 30 });
    expect(await look(requestFor(numbered(1)))).toEqual({ found: undefined, candidates: 30 });
    await insertPairs(pool, { status: 'UNCLAIMED', account: 'account-', isPlaced: false });
    expect(await look(requestFor(numbered(1)))).toEqual({ found: numbered(1), candidates: 31 });
  });

  test('is another one with another time, or another nonce', async () => {
    const look = watched();
    await insertPairs(pool, { status: 'UNCLAIMED', count: 10 });
    const request = requestFor(numbered(1));
    await look(request);
    expect(await look({ ...request, time: `${Number(TIME) + 1}` })).toEqual({ found: undefined, candidates: 10 });
    expect(await look(requestFor(numbered(2)))).toEqual({ found: undefined, candidates: 10 });
    expect(await look(request)).toEqual({ found: undefined, candidates: 0 });
  });

  test('is not remembered for ever: a thousand others make it new', async () => {
    const look = watched();
    await insertPairs(pool, { status: 'UNCLAIMED', count: 2 });
    await look(requestFor('forgotten'));
    for (let n = 1; n <= 1_000; n += 1) await look(requestFor(numbered(n)));
    expect(await look(requestFor(numbered(1_000)))).toEqual({ found: undefined, candidates: 0 });
    expect(await look(requestFor('forgotten'))).toEqual({ found: undefined, candidates: 2 });
  });
});

describe('pairs that enter the pool at the same time are all found by those who wait for them,', () => {
  let db: Knex;
  beforeAll(() => {
    db = knex({ client: 'pg', connection: database.url, pool: { min: 0, max: 8 } });
  });
  afterAll(() => db.destroy());

  /** Pairs whose Ring account is not known yet. */
  async function received(count: number): Promise<string[]> {
    await insertPairs(pool, { status: 'RECEIVED', count });
    const { rows } = await pool.query<{ id: string }>(`SELECT id FROM ring_tokens WHERE status = 'RECEIVED'`);
    return rows.map(({ id }) => id);
  }

  const isAnyoneWaiting = async () => {
    const { rows } = await pool.query(
      `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    return rows.length > 0;
  };

  test('also one that is committed after another one that began later', async () => {
    const [early = '', late = ''] = await received(2);
    const look = createNonceMatcher(pool, HMAC_KEY);
    const entering = await db.transaction();
    await identifyPair(entering, early, 'early', 'UNCLAIMED');
    let hasEntered = false;
    const other = db.transaction(async (trx) => {
      await identifyPair(trx, late, 'late', 'UNCLAIMED');
    });
    const done = other.then(() => (hasEntered = true));
    await until('the other one has entered, or waits', async () => hasEntered || (await isAnyoneWaiting()));

    expect(await look(requestFor('early'))).toBeUndefined();
    await entering.commit();
    await done;

    expect(await look(requestFor('early'))).toBe('early');
    expect(await look(requestFor('late'))).toBe('late');
  });

  test('in whatever order they are committed', async () => {
    const ids = await received(60);
    const accounts = ids.map((_, n) => numbered(n + 1));
    const look = createNonceMatcher(pool, HMAC_KEY);
    let isOver = false;
    const found = accounts.map(async (account) => {
      for (;;) {
        const isLast = isOver;
        const match = await look(requestFor(account));
        if (match !== undefined || isLast) return match;
      }
    });
    const queue = ids.entries();
    const enter = async () => {
      // One queue feeds all of them.
      for (const [n, id] of queue) {
        await db.transaction(async (trx) => {
          await trx.raw('SELECT pg_sleep(random() * 0.01)');
          await identifyPair(trx, id, accounts[n] ?? '', 'UNCLAIMED');
          await trx.raw('SELECT pg_sleep(random() * 0.01)');
        });
      }
    };
    await Promise.all(Array.from({ length: 6 }, enter));
    isOver = true;

    expect(await Promise.all(found)).toEqual(accounts);
  });
});

describe('reading the pool', () => {
  interface PlanNode {
    'Node Type': string;
    'Index Name'?: string;
    'Actual Rows': number;
    'Heap Fetches'?: number;
    Filter?: string;
    'Index Cond'?: string;
    Plans?: PlanNode[];
  }

  async function planOf(statement: string): Promise<PlanNode> {
    const { rows } = await pool.query<{ 'QUERY PLAN': [{ Plan: PlanNode }] }>(
      `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${statement}`,
    );
    const [row] = rows;
    if (row === undefined) throw new Error('EXPLAIN answered nothing');
    return row['QUERY PLAN'][0].Plan;
  }

  /** The node that reads, below the one that puts the texts together. */
  async function scanOf(statement: string): Promise<PlanNode> {
    const plan = await planOf(statement);
    return plan['Node Type'] === 'Aggregate' ? (plan.Plans?.[0] ?? plan) : plan;
  }

  const STATEMENTS = [UNCLAIMED_ACCOUNTS, NEWEST_UNCLAIMED_ACCOUNTS];

  test('asks for the status and for nothing else', () => {
    const conditions = STATEMENTS.map(
      (statement) => statement.replace(/\s+/g, ' ').split(' FROM ring_tokens WHERE ')[1],
    );
    expect(conditions).toEqual([`status = 'UNCLAIMED'`, `status = 'UNCLAIMED' ORDER BY pool_place DESC`]);
  });

  test('is answered from the partial index alone, without a look at the table, beside ten times as many claimed', async () => {
    await insertPairs(pool, { status: 'CLAIMED', count: 20_000 });
    await insertPairs(pool, { status: 'UNCLAIMED', count: 2_000 });
    await pool.query('VACUUM ANALYZE ring_tokens');

    for (const statement of STATEMENTS) {
      const scan = await scanOf(statement);
      expect(scan).toMatchObject({
        'Node Type': 'Index Only Scan',
        'Index Name': 'ring_tokens_pool',
        'Actual Rows': 2_000,
        'Heap Fetches': 0,
      });
      expect(scan.Plans).toBeUndefined();
      expect(scan.Filter).toBeUndefined();
      expect(scan['Index Cond']).toBeUndefined();
    }

    const { rows } = await pool.query<{ indexdef: string }>(
      `SELECT indexdef FROM pg_indexes WHERE indexname = 'ring_tokens_pool'`,
    );
    expect(rows[0]?.indexdef).toMatch(/\(pool_place\) INCLUDE \(account_id\) WHERE \(status = 'UNCLAIMED'::text\)$/);
  });

  test('stays an index-only scan while pairs come and go between two vacuums', async () => {
    await insertPairs(pool, { status: 'CLAIMED', count: 20_000 });
    await insertPairs(pool, { status: 'UNCLAIMED', count: 2_000 });
    await pool.query('VACUUM ANALYZE ring_tokens');
    await pool.query(
      `UPDATE ring_tokens SET status = 'CLAIMED' WHERE status = 'UNCLAIMED' AND account_id < 'unclaimed-001'`,
    );
    await insertPairs(pool, { status: 'UNCLAIMED', count: 150, account: 'late-' });

    for (const statement of STATEMENTS) {
      expect(await scanOf(statement)).toMatchObject({
        'Node Type': 'Index Only Scan',
        'Index Name': 'ring_tokens_pool',
        'Actual Rows': 1_151,
      });
    }
  });
});
