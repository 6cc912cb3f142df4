import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { ERASED, insertPairs, type Pair } from '../support/features/pairs.js';
import { type Scrape, scrape } from '../support/inspection/metrics.js';
import { scaled } from '../support/waiting/limits.js';
import { tick } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import type { Fault, RingUser } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

const PASSWORD = 'correct horse battery staple';

let world: World;
beforeAll(async () => {
  world = await startWorld({ patienceMs: scaled(5_000), ringTimeoutMs: scaled(4_000) });
  await world.startAnother();
});
afterEach(() => world.ring.setFaults([]));
afterAll(() => world.stop());

const everyPair = () => world.sql<Pair>('SELECT * FROM ring_tokens ORDER BY created_at');

/** The pairs of a known account, oldest first. */
const pairsOf = ({ account_id }: RingUser) =>
  world.sql<Pair>('SELECT * FROM ring_tokens WHERE account_id = $1 ORDER BY created_at', [account_id]);

const statusesOf = async (user: RingUser) => (await pairsOf(user)).map(({ status }) => status);

async function untilStatuses(user: RingUser, ...statuses: string[]): Promise<void> {
  await until(`the pairs are ${statuses.join(', ')}`, async () => (await statusesOf(user)).join() === statuses.join());
}

const lookupsOf = async ({ account_id }: RingUser) =>
  (await world.ring.requests()).filter((one) => one.path === '/v1/users/me' && one.account_id === account_id);

async function untilAskedAbout(user: RingUser, times = 1): Promise<void> {
  await until('Ring is asked whose pair it is', async () => (await lookupsOf(user)).length >= times);
}

/** Installs the app, expects the callback to succeed, and returns the new row. */
async function install(user: RingUser): Promise<Pair> {
  const known = new Set((await everyPair()).map(({ id }) => id));
  expect((await world.ring.install(user)).callback?.status).toBe(200);
  const [pair] = (await everyPair()).filter(({ id }) => !known.has(id));
  if (pair === undefined) throw new Error('the installation brought no row');
  return pair;
}

async function pairById(id: string): Promise<Pair | undefined> {
  const [pair] = await world.sql<Pair>('SELECT * FROM ring_tokens WHERE id = $1', [id]);
  return pair;
}

/** Ring answers one lookup correctly but late, when the answer may be out of date. */
const answerOneLookupLate = () =>
  world.ring.setFaults([{ endpoint: 'users-me', fault: { kind: 'hold' }, when: 'after', times: 1 }]);

async function link(user: RingUser, email: string): Promise<string> {
  const visitor = world.visitor();
  await visitor.open((await world.ring.linkUrl(user)).url);
  await visitor.submit('/sign-up', { email, password: PASSWORD });
  return visitor.heading;
}

describe('a token pair that was received', () => {
  test('enters the pool with its account, both ciphertexts and the end of its access token', async () => {
    const user = await world.ring.createUser();
    await install(user);
    await untilStatuses(user, 'UNCLAIMED');
    const [pair] = await world.sql<Pair & { access_token_expires_at: Date; claimed_at: Date | null }>(
      'SELECT * FROM ring_tokens WHERE account_id = $1',
      [user.account_id],
    );
    expect(pair).toMatchObject({ key_id: 'test', claimed_at: null, created_at: world.clock.now() });
    expect(pair?.access_token_expires_at).toEqual(new Date(world.clock.now().getTime() + 14_400_000));
    expect(pair?.access_token_ciphertext).not.toBeNull();
    expect(pair?.refresh_token_ciphertext).not.toBeNull();
    expect(await lookupsOf(user)).toHaveLength(1);
  });

  test('is one of many that arrive at once, and each finds its own account', async () => {
    const users = await Promise.all(Array.from({ length: 15 }, () => world.ring.createUser()));
    const installations = await Promise.all(users.map((user) => world.ring.install(user)));
    expect(installations.map(({ callback }) => callback?.status)).toEqual(Array(15).fill(200));
    for (const user of users) await untilStatuses(user, 'UNCLAIMED');
  });

  const body = (value: unknown): Fault['fault'] => ({
    kind: 'body',
    status: 200,
    contentType: 'application/json',
    body: JSON.stringify(value),
  });

  test('waits as RECEIVED while Ring can’t tell its account, and is UNCLAIMED by itself when Ring can', async () => {
    const failures: Fault['fault'][] = [
      ...[500, 503, 401, 403, 404].map((status) => ({ kind: 'status', status })),
      { kind: 'status', status: 429, retryAfterSeconds: 1 },
      { kind: 'body', status: 200, contentType: 'text/html', body: '<h1>Welcome</h1>' },
      body({ data: { type: 'users' } }),
      body({ data: { type: 'users', id: '' } }),
      body({ data: { type: 'users', id: 'two words' } }),
      body({ data: { type: 'users', id: 'x'.repeat(3_000) } }),
      body({ data: { type: 'devices', id: 'device-1' } }),
      { kind: 'reset' },
      { kind: 'silence' },
    ];
    const waiting: { user: RingUser; id: string }[] = [];
    for (const fault of failures) {
      await world.ring.setFaults([{ endpoint: 'users-me', fault }]);
      const user = await world.ring.createUser();
      waiting.push({ user, id: (await install(user)).id });
      await untilAskedAbout(user);
    }
    for (const { id } of waiting) {
      expect(await pairById(id)).toMatchObject({ status: 'RECEIVED', account_id: null, key_id: 'test' });
    }
    await world.ring.setFaults([]);
    for (const { user } of waiting) await untilStatuses(user, 'UNCLAIMED');
    expect(world.log.join('')).not.toMatch(/sim-(at|rt|code)-/);
  });

  test('is matched only once its account is known: the page waits for Ring and then links', async () => {
    await world.ring.setFaults([{ endpoint: 'users-me', fault: { kind: 'delay', ms: 1_000 }, times: 1 }]);
    const user = await world.ring.createUser();
    expect((await install(user)).status).toBe('RECEIVED');
    expect(await link(user, 'waits.for.ring@example.com')).toBe('Your Ring account is linked');
  });

  test('is looked for once more by a page that waits, and no other pair is', async () => {
    const client = new pg.Client({ connectionString: world.databaseUrl });
    await client.connect();
    await insertPairs(client, { status: 'UNCLAIMED', count: 300, account: 'crowd-' });
    await client.end();
    const user = await world.ring.createUser();
    await world.ring.setFaults([{ endpoint: 'users-me', fault: { kind: 'hold' }, times: 1 }]);
    await install(user);
    const before = await scrape(world.url);
    const sizeOfPool = before.count('ring_link_unclaimed_pairs');
    expect(sizeOfPool).toBeGreaterThanOrEqual(300);
    const looks = (at: Scrape) => at.count('ring_link_match_candidates_count');

    const heading = link(user, 'waits.in.a.crowd@example.com');
    await until('the pool was looked at twice in vain', async () => looks(await scrape(world.url)) > looks(before) + 1);
    await world.ring.release();
    expect(await heading).toBe('Your Ring account is linked');

    const after = await scrape(world.url);
    const computed = 'ring_link_match_candidates_sum';
    expect(looks(after)).toBeGreaterThan(looks(before) + 2);
    expect(after.count(computed) - before.count(computed)).toBe(sizeOfPool + 1);
    await world.sql(`DELETE FROM ring_tokens WHERE account_id LIKE 'crowd-%'`);
  });

  test('expires when Ring can’t tell its account in time, and Ring is not asked any more', async () => {
    await world.ring.setFaults([{ endpoint: 'users-me', fault: { kind: 'status', status: 503 } }]);
    const user = await world.ring.createUser();
    const { id } = await install(user);
    await untilAskedAbout(user);
    world.clock.advance(601);
    await tick('expire unclaimed tokens');
    await until('the pair is expired', async () => (await pairById(id))?.status === 'EXPIRED');
    expect(await pairById(id)).toMatchObject({ account_id: null, ...ERASED });

    const asked = (await lookupsOf(user)).length;
    await world.ring.setFaults([]);
    await until('no lookup waits any more', async () => {
      const jobs = await world.sql('SELECT 1 FROM graphile_worker.jobs');
      return jobs.length === 0;
    });
    expect(await lookupsOf(user)).toHaveLength(asked);
    expect(await pairById(id)).toMatchObject({ status: 'EXPIRED', ...ERASED });
  });

  test('that is too old is not put into the pool any more, even before it is expired', async () => {
    await world.ring.setFaults([{ endpoint: 'users-me', fault: { kind: 'status', status: 503 } }]);
    const user = await world.ring.createUser();
    const { id } = await install(user);
    await untilAskedAbout(user);
    world.clock.advance(601);
    await world.ring.setFaults([]);
    await until('no lookup waits any more', async () => {
      const jobs = await world.sql('SELECT 1 FROM graphile_worker.jobs');
      return jobs.length === 0;
    });
    // The periodic task may run by itself in between.
    expect(['RECEIVED', 'EXPIRED']).toContain((await pairById(id))?.status);
  });

  test('stays expired when its lookup ends after its expiry', async () => {
    await answerOneLookupLate();
    const user = await world.ring.createUser();
    const { id } = await install(user);
    await untilAskedAbout(user);
    world.clock.advance(601);
    await tick('expire unclaimed tokens');
    await until('the pair is expired', async () => (await pairById(id))?.status === 'EXPIRED');
    await untilLateAnswer(user);
    expect(await pairById(id)).toMatchObject({ status: 'EXPIRED', ...ERASED });
  });
});

/** Waits until the held answer has arrived and its result is in the database. */
async function untilLateAnswer(user: RingUser): Promise<void> {
  await world.ring.release();
  await until('the late answer is out', async () => (await lookupsOf(user))[0]?.status === 200);
  await until('its job is done', async () => {
    const jobs = await world.sql(`SELECT 1 FROM graphile_worker.jobs WHERE locked_at IS NOT NULL`);
    return jobs.length === 0;
  });
}

describe('a newer pair for the same account', () => {
  test('supersedes the one that waits in the pool, which is expired and erased', async () => {
    const user = await world.ring.createUser();
    await install(user);
    await untilStatuses(user, 'UNCLAIMED');
    world.clock.advance(1);
    await install(user);
    await untilStatuses(user, 'EXPIRED', 'UNCLAIMED');
    const [older, newer] = await pairsOf(user);
    expect(older).toMatchObject(ERASED);
    expect(newer).toMatchObject({ key_id: 'test' });
    expect(await link(user, 'installed.twice@example.com')).toBe('Your Ring account is linked');
    expect(await statusesOf(user)).toEqual(['EXPIRED', 'CLAIMED']);
  });

  test('leaves the pairs of other accounts alone', async () => {
    const [user, neighbour] = [await world.ring.createUser(), await world.ring.createUser()];
    await install(neighbour);
    await untilStatuses(neighbour, 'UNCLAIMED');
    await install(user);
    await untilStatuses(user, 'UNCLAIMED');
    world.clock.advance(1);
    await install(user);
    await untilStatuses(user, 'EXPIRED', 'UNCLAIMED');
    expect(await statusesOf(neighbour)).toEqual(['UNCLAIMED']);
  });

  test('stays when the lookup of the older one ends late', async () => {
    await answerOneLookupLate();
    const user = await world.ring.createUser();
    const older = await install(user);
    await untilAskedAbout(user);
    world.clock.advance(1);
    const newer = await install(user);
    await until('the newer is in the pool', async () => (await pairById(newer.id))?.status === 'UNCLAIMED');
    expect((await pairById(older.id))?.status).toBe('RECEIVED');

    await untilLateAnswer(user);
    expect(await pairById(older.id)).toMatchObject({ status: 'EXPIRED', ...ERASED });
    expect(await pairById(newer.id)).toMatchObject({ status: 'UNCLAIMED', key_id: 'test' });
  });

  test('keeps the older one out of the pool also when it has been claimed meanwhile', async () => {
    await answerOneLookupLate();
    const user = await world.ring.createUser();
    const older = await install(user);
    await untilAskedAbout(user);
    world.clock.advance(1);
    const newer = await install(user);
    expect(await link(user, 'claims.the.newer@example.com')).toBe('Your Ring account is linked');
    expect((await pairById(older.id))?.status).toBe('RECEIVED');

    await untilLateAnswer(user);
    expect(await pairById(older.id)).toMatchObject({ status: 'EXPIRED', ...ERASED });
    expect(await pairById(newer.id)).toMatchObject({ status: 'CLAIMED' });
  });

  test('keeps the older one out of the pool also when Ring has refused and so ended the newer meanwhile', async () => {
    const refused = JSON.stringify({ errors: [{ status: '400', title: 'Invalid Nonce', detail: '' }] });
    const contentType = 'application/vnd.api+json';
    await world.ring.setFaults([
      { endpoint: 'users-me', fault: { kind: 'hold' }, when: 'after', times: 1 },
      { endpoint: 'integration-post', fault: { kind: 'body', status: 400, contentType, body: refused }, times: 1 },
    ]);
    const user = await world.ring.createUser();
    const older = await install(user);
    await untilAskedAbout(user);
    world.clock.advance(1);
    const newer = await install(user);
    await link(user, 'is.refused@example.com');
    expect((await pairById(newer.id))?.status).toBe('REVOKED');
    expect((await pairById(older.id))?.status).toBe('RECEIVED');

    await untilLateAnswer(user);
    expect(await pairById(older.id)).toMatchObject({ status: 'EXPIRED', ...ERASED });
  });

  test('is the only one left of five installations in a row whose lookups end at about the same moment', async () => {
    const user = await world.ring.createUser();
    await world.ring.setFaults([{ endpoint: 'users-me', fault: { kind: 'hold' }, when: 'after', times: 5 }]);
    for (let n = 1; n <= 5; n += 1) {
      await install(user);
      await untilAskedAbout(user, n);
      world.clock.advance(1);
    }
    await world.ring.release();
    await untilStatuses(user, 'EXPIRED', 'EXPIRED', 'EXPIRED', 'EXPIRED', 'UNCLAIMED');
    for (const older of (await pairsOf(user)).slice(0, 4)) expect(older).toMatchObject(ERASED);
  });
});
