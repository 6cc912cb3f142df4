import { createHmac } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { pino } from 'pino';
import { type Database, openDatabase } from '../../src/database/database.js';
import type { Tables } from '../../src/database/tables.js';
import { expireUnclaimedPairs } from '../../src/linking/expiry.js';
import { ERASED, insertPairs, type Pair } from '../support/features/pairs.js';
import { tick } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import { createTestDatabase, type TestDatabase } from '../support/worlds/postgres.js';
import { HMAC_KEY, startWorld, type World } from '../support/worlds/world.js';

const TTL_SECONDS = 600;
const EXPIRE = 'expire unclaimed tokens';

describe('expiring unclaimed pairs', () => {
  const NOW = new Date('2026-10-05T12:00:00.000Z');
  const secondsAgo = (seconds: number) => new Date(NOW.getTime() - seconds * 1_000);

  let testDatabase: TestDatabase;
  let pool: pg.Pool;
  let instances: Database[];
  beforeAll(async () => {
    testDatabase = await createTestDatabase();
    pool = new pg.Pool({ connectionString: testDatabase.url, max: 5 });
    pool.on('error', () => undefined);
    instances = Array.from({ length: 4 }, () => openDatabase(testDatabase.url, pino({ level: 'silent' })));
  });
  beforeEach(() => pool.query('TRUNCATE ring_tokens CASCADE'));
  afterAll(async () => {
    await Promise.all(instances.map((instance) => instance.close()));
    await pool.end();
    await testDatabase.drop();
  });

  const expireOn = (instance: Database | undefined, now = NOW) => {
    if (instance === undefined) throw new Error('there is no such instance');
    return expireUnclaimedPairs({ db: instance.knex, clock: () => now, unclaimedTtlSeconds: TTL_SECONDS });
  };
  const expire = (now = NOW) => expireOn(instances[0], now);

  const pairs = async () => (await pool.query<Pair>('SELECT * FROM ring_tokens ORDER BY created_at')).rows;

  async function countByStatus(): Promise<Record<string, number>> {
    const { rows } = await pool.query<Pick<Tables['ring_tokens'], 'status'> & { count: number }>(
      'SELECT status, count(*)::int AS count FROM ring_tokens GROUP BY status',
    );
    return Object.fromEntries(rows.map(({ status, count }) => [status, count]));
  }

  test.each(['UNCLAIMED', 'RECEIVED'] as const)(
    'a %s pair lives for exactly its time, and then its ciphertext is erased and its row stays',
    async (status) => {
      await insertPairs(pool, { status, createdAt: secondsAgo(TTL_SECONDS) });
      expect(await expire(new Date(NOW.getTime() - 1))).toBe(0);
      expect(await expire(NOW)).toBe(0);
      expect(await pairs()).toMatchObject([{ status, key_id: 'test' }]);

      expect(await expire(new Date(NOW.getTime() + 1))).toBe(1);
      expect(await pairs()).toMatchObject([{ status: 'EXPIRED', ...ERASED, created_at: secondsAgo(TTL_SECONDS) }]);
      expect(await expire(new Date(NOW.getTime() + 1))).toBe(0);
    },
  );

  test('an expired pair keeps the account that it was for', async () => {
    await insertPairs(pool, { status: 'UNCLAIMED', createdAt: secondsAgo(601), account: 'account-' });
    await expire();
    expect(await pairs()).toMatchObject([{ status: 'EXPIRED', account_id: 'account-000001' }]);
  });

  test('a pair that is claimed or has ended is left as it is, however old', async () => {
    for (const status of ['CLAIMED', 'EXPIRED', 'REVOKED'] as const) {
      await insertPairs(pool, { status, createdAt: secondsAgo(1_000_000) });
    }
    const before = await pairs();
    expect(await expire()).toBe(0);
    expect(await pairs()).toEqual(before);
  });

  test('three thousand are too many for one statement, and all go while the young stay', async () => {
    await insertPairs(pool, { status: 'UNCLAIMED', count: 2_500, createdAt: secondsAgo(700), account: 'old-' });
    await insertPairs(pool, { status: 'RECEIVED', count: 500, createdAt: secondsAgo(800) });
    await insertPairs(pool, { status: 'UNCLAIMED', count: 100, createdAt: secondsAgo(10), account: 'young-' });
    expect(await expire()).toBe(3_000);
    expect(await countByStatus()).toEqual({ EXPIRED: 3_000, UNCLAIMED: 100 });
  });

  test('exactly a thousand, and one more, go as well', async () => {
    await insertPairs(pool, { status: 'UNCLAIMED', count: 1_000, createdAt: secondsAgo(700), account: 'a-' });
    expect(await expire()).toBe(1_000);
    await insertPairs(pool, { status: 'UNCLAIMED', count: 1_001, createdAt: secondsAgo(700), account: 'b-' });
    expect(await expire()).toBe(1_001);
  });

  test('instances that run at the same moment share the work: each pair is expired once', async () => {
    await insertPairs(pool, { status: 'UNCLAIMED', count: 3_000, createdAt: secondsAgo(700) });
    const counts = await Promise.all(instances.map((instance) => expireOn(instance)));
    expect(counts.reduce((sum, count) => sum + count)).toBe(3_000);
    expect(await countByStatus()).toEqual({ EXPIRED: 3_000 });
  });

  test.each([
    ['commits', 'CLAIMED', 0],
    ['rolls back', 'UNCLAIMED', 1],
  ])(
    'a pair that a transaction is claiming is neither taken nor waited for; the claim then %s',
    async (end, status, later) => {
      await insertPairs(pool, { status: 'UNCLAIMED', count: 3, createdAt: secondsAgo(700), account: 'account-' });
      const claim = await pool.connect();
      try {
        await claim.query(
          `BEGIN; UPDATE ring_tokens SET status = 'CLAIMED', claimed_at = now() WHERE account_id = 'account-000002'`,
        );
        expect(await expire()).toBe(2);
        await claim.query(end === 'commits' ? 'COMMIT' : 'ROLLBACK');
      } finally {
        claim.release();
      }
      expect(await countByStatus()).toEqual({ EXPIRED: 2, [status]: 1 });
      const [survivor] = (await pairs()).filter((pair) => pair.status === status);
      expect(survivor).toMatchObject({ account_id: 'account-000002', key_id: 'test' });
      expect(survivor?.access_token_ciphertext).not.toBeNull();
      expect(await expire()).toBe(later);
    },
  );

  test('a lock that is held on the oldest thousand does not keep the others alive', async () => {
    await insertPairs(pool, { status: 'RECEIVED', count: 1_000, createdAt: secondsAgo(900) });
    await insertPairs(pool, { status: 'UNCLAIMED', count: 300, createdAt: secondsAgo(700) });
    const locker = await pool.connect();
    try {
      await locker.query(`BEGIN; SELECT 1 FROM ring_tokens WHERE status = 'RECEIVED' FOR UPDATE`);
      expect(await expire()).toBe(300);
    } finally {
      await locker.query('ROLLBACK');
      locker.release();
    }
    expect(await expire()).toBe(1_000);
  });
});

describe('the periodic task of a running service', () => {
  const PASSWORD = 'correct horse battery staple';
  let world: World;
  beforeAll(async () => {
    world = await startWorld({ environment: { UNCLAIMED_TTL_SECONDS: '900' } });
  });
  afterAll(() => world.stop());

  const pairOf = async (account: string) => {
    const [pair] = await world.sql<Pair>('SELECT * FROM ring_tokens WHERE account_id = $1', [account]);
    return pair;
  };
  const statusOf = async (account: string) => (await pairOf(account))?.status;

  async function installAndIdentify() {
    const user = await world.ring.createUser();
    await world.ring.install(user);
    await until('the pair is in the pool', async () => (await statusOf(user.account_id)) === 'UNCLAIMED');
    return user;
  }

  /** Runs the task, and returns when everything that this run has to expire is expired. */
  async function tickAndFinish(): Promise<void> {
    const sentinel = (await world.ring.createUser()).account_id;
    await world.sql(
      `INSERT INTO ring_tokens (id, status, account_id, key_id, access_token_ciphertext, refresh_token_ciphertext, scope,
                                access_token_expires_at, created_at)
       VALUES (gen_random_uuid(), 'UNCLAIMED', $1, 'test', '', '', '', $2, $2)`,
      [sentinel, new Date(world.clock.now().getTime() - 900_001)],
    );
    await tick(EXPIRE);
    await until('the tick is through', async () => (await statusOf(sentinel)) === 'EXPIRED');
  }

  test('expires a pair after UNCLAIMED_TTL_SECONDS and not before', async () => {
    const user = await installAndIdentify();
    world.clock.advance(900);
    await tickAndFinish();
    expect(await statusOf(user.account_id)).toBe('UNCLAIMED');

    world.clock.advance(0.001);
    await tick(EXPIRE);
    await until('the pair is expired', async () => (await statusOf(user.account_id)) === 'EXPIRED');
    expect(await pairOf(user.account_id)).toMatchObject(ERASED);
  });

  test('never takes a pair from a user who is claiming it', async () => {
    const email = 'claims.late@example.com';
    const visitor = world.visitor();
    await visitor.open('/ring/home');
    await visitor.submit('/sign-up', { email, password: PASSWORD });
    const user = await installAndIdentify();
    world.clock.advance(901);
    await visitor.open((await world.ring.linkUrl(user)).url);

    // A claim takes the pair first and inserts the link last. A lock on the links stops it half-way.
    const locker = new pg.Client({ connectionString: world.databaseUrl });
    await locker.connect();
    await locker.query('BEGIN');
    await locker.query('LOCK TABLE account_links IN SHARE MODE');
    try {
      const linking = visitor.submit('/ring/link');
      await until('the claim waits in the middle', async () => {
        const waiting = await world.sql(
          `SELECT 1 FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ILIKE 'insert into "account_links"%'`,
        );
        return waiting.length === 1;
      });
      await tickAndFinish();
      await locker.query('COMMIT');
      await linking;
    } finally {
      await locker.end();
    }
    expect(visitor.heading).toBe('Your Ring account is linked');
    expect(await pairOf(user.account_id)).toMatchObject({ status: 'CLAIMED', key_id: 'test' });
    await tickAndFinish();
    expect(await statusOf(user.account_id)).toBe('CLAIMED');
  });

  test('lets exactly one of an expiry and many simultaneous claims have each pair', async () => {
    const users = [];
    for (let n = 0; n < 6; n += 1) users.push(await installAndIdentify());
    world.clock.advance(901);
    const links = await Promise.all(users.map((user) => world.ring.linkUrl(user)));
    const visits = links.map(async ({ url }, n) => {
      const visitor = world.visitor();
      await visitor.open(url);
      await delay(n * 15);
      await visitor.submit('/sign-up', { email: `racer${n}@example.com`, password: PASSWORD });
      return visitor.page.status;
    });
    await delay(60);
    for (let n = 0; n < 4; n += 1) await tick(EXPIRE);
    const statuses = await Promise.all(visits);
    await tickAndFinish();

    for (const [n, user] of users.entries()) {
      const pair = await pairOf(user.account_id);
      const links = await world.sql('SELECT 1 FROM account_links WHERE account_id = $1', [user.account_id]);
      const isLinked = (statuses[n] ?? 500) < 300;
      expect({ status: pair?.status, links: links.length }).toEqual(
        isLinked ? { status: 'CLAIMED', links: 1 } : { status: 'EXPIRED', links: 0 },
      );
      expect(pair?.key_id === null).toBe(!isLinked);
    }
  });

  test('a nonce for an expired pair is valid and finds nothing', async () => {
    const user = await installAndIdentify();
    world.clock.advance(901);
    await tick(EXPIRE);
    await until('the pair is expired', async () => (await statusOf(user.account_id)) === 'EXPIRED');
    const { url, nonce, time } = await world.ring.linkUrl(user);
    expect(nonce).toBe(createHmac('sha256', HMAC_KEY).update(`${time}:${user.account_id}`).digest('base64url'));
    const visitor = world.visitor();
    await visitor.open(url);
    await visitor.submit('/sign-up', { email: 'too.late@example.com', password: PASSWORD });
    expect(visitor.page.status).toBe(404);
    expect(await pairOf(user.account_id)).toMatchObject({ status: 'EXPIRED', ...ERASED });
  });

  test('a code is remembered for a day, and then purged', async () => {
    const send = async (code: string) => {
      const body = JSON.stringify({ code });
      const headers = { 'content-type': 'application/json' };
      return (await fetch(`${world.url}/ring/token`, { method: 'POST', headers, body })).status;
    };
    const exchanges = async (account: string) =>
      (await world.ring.requests()).filter(({ path, account_id }) => path === '/oauth/token' && account_id === account)
        .length;
    const PURGE = 'forget old code exchanges';
    const remembered = async () => (await world.sql('SELECT 1 FROM token_exchanges')).length;

    const { code, account_id } = await world.ring.issueCode(await world.ring.createUser());
    expect(await send(code)).toBe(200);
    world.clock.advance(23 * 3_600);
    await tick(PURGE);
    expect(await send(code)).toBe(200);
    expect(await exchanges(account_id)).toBe(1);

    world.clock.advance(3_601);
    await tick(PURGE);
    await until('all codes are purged', async () => (await remembered()) === 0);
    expect(await send(code)).toBe(400);
    expect(await exchanges(account_id)).toBe(2);
  });
});
