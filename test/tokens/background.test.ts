import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import cron from 'node-cron';
import pg from 'pg';
import { readConfig } from '../../src/configuration/config.js';
import { type Tables } from '../../src/database/tables.js';
import { type CallBudget, createCallBudget, REFRESH_SHARE } from '../../src/tokens/call-budget.js';
import { openRefreshToken, type SealedPair } from '../../src/tokens/token-pairs.js';
import { createVault } from '../../src/tokens/vault.js';
import { sharing } from '../support/features/devices.js';
import { cards, installed, linksOf, untilLink } from '../support/features/linking.js';
import { openLiveView } from '../support/features/live-views.js';
import { DAY, manyLinks, MINUTE, refreshesOf, tokenOf } from '../support/features/tokens.js';
import { scaled } from '../support/waiting/limits.js';
import { holdLock } from '../support/waiting/locks.js';
import { tick, tickAndFinish } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import type { RingRequest, RingUser } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

const TASK = 'refresh tokens';
/** The key in `rate_limits` for calls to Ring in the background. */
const LIMIT = 'ring_calls:background';
/** Calls in a second: half of what Ring allows. */
const BACKGROUND_LIMIT = 50;
/** Calls at once: in two pieces of time, the second of which has just begun. */
const BACKGROUND_BURST = 10;

function allRefreshes(world: World): Promise<RingRequest[]> {
  return world.ring.requests().then((all) => all.filter((one) => one.grant_type === 'refresh_token'));
}

async function statesOf(world: World): Promise<Record<string, number>> {
  const rows = await world.sql<{ state: string; count: number }>(
    `SELECT generation || ' ' || refresh_state AS state, count(*)::int AS count FROM ring_tokens
      WHERE status = 'CLAIMED' GROUP BY 1 ORDER BY 1`,
  );
  return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
}

async function untilStates(world: World, states: Record<string, number>): Promise<void> {
  let present = '';
  const are = async () => (present = JSON.stringify(await statesOf(world))) === JSON.stringify(states);
  await until(`the pairs are ${JSON.stringify(states)}`, are).catch((cause: unknown) => {
    throw new Error(`the pairs are ${present} instead of ${JSON.stringify(states)}`, { cause });
  });
}

/**
 * Expects that no more calls than allowed have come by any moment. On a busy machine calls are seen late, several at
 * once, but never early.
 *
 * @param times in ms, since the beginning
 * @param lateness in ms by which a call may have been seen late
 */
function expectPace(times: readonly number[], lateness = 0): void {
  const sorted = [...times].sort((one, other) => one - other);
  sorted.forEach((ms, index) => {
    expect(index + 1).toBeLessThanOrEqual((BACKGROUND_LIMIT * (ms + lateness)) / 1_000 + BACKGROUND_BURST);
  });
}

/** From now on the task of every running instance runs only when it is told to, and not every minute as well. */
async function runOnlyWhenTold(): Promise<void> {
  for (const task of cron.getTasks().values()) if (task.name === TASK) await task.stop();
}

async function two(world: World): Promise<[RingUser, RingUser]> {
  const [first, second] = await manyLinks(world, 2);
  if (first === undefined || second === undefined) throw new Error('no links were made');
  return [first, second];
}

describe('a refresh in the background', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld({ ringTimeoutMs: scaled(3_000) });
    await world.startAnother();
  });
  afterEach(async () => {
    await world.ring.setFaults([]);
    await world.sql('TRUNCATE ring_tokens CASCADE');
  });
  afterAll(() => world.stop());

  test('is due when the last one, or the first pair, is over 24 hours old', async () => {
    // One is a millisecond older. A refresh shows which of the two was due.
    const [younger, older] = await two(world);
    await world.sql(`UPDATE ring_tokens SET created_at = created_at - interval '1 ms' WHERE account_id = $1`, [
      older.account_id,
    ]);

    world.clock.advance(DAY);
    await tick(TASK);
    await untilStates(world, { '0 FINE': 1, '1 FINE': 1 });
    expect(await tokenOf(world, older)).toMatchObject({ generation: 1, refreshed_at: world.clock.now() });

    await world.sql('UPDATE ring_tokens SET refreshed_at = $1 WHERE account_id = $2', [
      world.clock.now(),
      younger.account_id,
    ]);
    await world.sql(`UPDATE ring_tokens SET refreshed_at = refreshed_at - interval '1 ms' WHERE account_id = $1`, [
      older.account_id,
    ]);
    world.clock.advance(DAY);
    await tick(TASK);
    await untilStates(world, { '0 FINE': 1, '2 FINE': 1 });
    expect(await refreshesOf(world, younger)).toEqual([]);
    expect(await refreshesOf(world, older)).toHaveLength(2);
  });

  test('is for links that stand, and for no other pair', async () => {
    const unclaimed = await installed(world);
    const ended = await manyLinks(world, 3);
    for (const [index, status] of ['REMOVED', 'REFUSED', 'REAUTH_REQUIRED'].entries()) {
      await world.sql('UPDATE account_links SET status = $1 WHERE account_id = $2', [status, ended[index]?.account_id]);
    }
    const [standing] = await two(world);

    world.clock.advance(DAY + MINUTE);
    await tick(TASK);
    await until('the one is refreshed', async () => (await tokenOf(world, standing)).generation === 1);

    for (const ringUser of [unclaimed, ...ended]) expect(await refreshesOf(world, ringUser)).toEqual([]);
  });

  test('is shared by the instances: each pair is refreshed once, however often the task runs', async () => {
    const before = (await allRefreshes(world)).length;
    await manyLinks(world, 35);
    world.clock.advance(DAY + MINUTE);

    await Promise.all([tick(TASK), tick(TASK), tick(TASK)]);
    await untilStates(world, { '1 FINE': 35 });

    expect(await allRefreshes(world)).toHaveLength(before + 35);
  });

  test('that fails does not keep the others waiting, and is tried again later', async () => {
    await manyLinks(world, 25);
    world.clock.advance(DAY + MINUTE);
    await world.ring.setFaults([
      { endpoint: 'token', fault: { kind: 'silence' }, times: 2 },
      { endpoint: 'token', fault: { kind: 'status', status: 500 }, times: 2 },
      { endpoint: 'token', fault: { kind: 'body', status: 200, contentType: 'text/html', body: '<p>' }, times: 1 },
    ]);

    await tick(TASK);
    await untilStates(world, { '0 UNCERTAIN': 5, '1 FINE': 20 });

    world.clock.advance(6 * MINUTE);
    await tick(TASK);
    await untilStates(world, { '1 FINE': 25 });
  });

  test('is not put off to the next day after a refresh that a user waited for has failed', async () => {
    const owner = await sharing(world);
    world.clock.advance(4 * 60 * MINUTE);
    await world.ring.setFaults([{ endpoint: 'token', fault: { kind: 'reset' }, times: 1 }]);
    expect((await openLiveView(world.url, owner)).status).toBe(502);
    expect(await tokenOf(world, owner.ringUser)).toMatchObject({ refresh_state: 'UNCERTAIN' });

    world.clock.advance(MINUTE);
    await tick(TASK);

    await untilStates(world, { '1 FINE': 1 });
  });

  test('is tried with a token that is 20 days old, and still good', async () => {
    const [ringUser] = await two(world);
    world.clock.advance(20 * DAY);
    await tick(TASK);
    await untilStates(world, { '1 FINE': 2 });
    expect(await linksOf(world, ringUser)).toMatchObject([{ status: 'COMPLETED' }]);
  });

  test('is not tried with a token over 30 days old: its user has to link again', async () => {
    const owner = await sharing(world);
    const { ringUser } = owner;
    await world.ring.setFaults([{ endpoint: 'token', fault: { kind: 'status', status: 500 } }]);
    world.clock.advance(DAY + MINUTE);
    await tick(TASK);
    await untilStates(world, { '0 UNCERTAIN': 1 });
    const { id } = await tokenOf(world, ringUser);
    expect(await linksOf(world, ringUser)).toMatchObject([{ status: 'COMPLETED' }]);

    const age = (interval: string) =>
      world.sql('UPDATE ring_tokens SET created_at = $1::timestamptz - $2::interval WHERE id = $3', [
        new Date(),
        interval,
        id,
      ]);
    await age('29 days 23 hours 59 minutes');
    await tickAndFinish(TASK, world.url);
    expect(await linksOf(world, ringUser)).toMatchObject([{ status: 'COMPLETED' }]);

    await age('30 days 1 second');
    await tick(TASK);
    await untilLink(world, ringUser, 'REAUTH_REQUIRED');

    expect(await linksOf(world, ringUser)).toMatchObject([
      { status: 'REAUTH_REQUIRED', last_error: 'refresh token expired' },
    ]);
    expect(await tokenOf(world, ringUser)).toMatchObject({ status: 'REVOKED', key_id: null });
    expect(await refreshesOf(world, ringUser)).toHaveLength(1);
    expect(world.log.some((line) => line.includes(id) && line.includes('died of age'))).toBe(true);
    await owner.visitor.open('/ring/home');
    expect(cards(owner.visitor)).toEqual(['Has to be linked again']);
  });

  test('whose process has died is UNCERTAIN after 45 s, and not before', async () => {
    const [young, old] = await manyLinks(world, 2);
    const start = (ringUser: RingUser | undefined, seconds: number) =>
      world.sql(
        `UPDATE ring_tokens SET refresh_state = 'REFRESHING', refresh_started_at = now() - $1 * interval '1 second',
                refresh_after = $3 WHERE account_id = $2`,
        [seconds, ringUser?.account_id, new Date(world.clock.now().getTime() + 30 * MINUTE * 1_000)],
      );
    await start(young, 40);
    await start(old, 46);

    await tick(TASK);
    await until('the older one is noted', async () => (await statesOf(world))['0 UNCERTAIN'] === 1);

    expect(await statesOf(world)).toEqual({ '0 REFRESHING': 1, '0 UNCERTAIN': 1 });
    await world.sql(`UPDATE ring_tokens SET refresh_state = 'FINE'`);
  });
});

describe('a pass over the due pairs', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld({ ringTimeoutMs: scaled(3_000), ringNow: () => Date.now() });
    await runOnlyWhenTold();
  });
  afterEach(async () => {
    await release();
    await world.ring.setFaults([]);
    await world.sql('TRUNCATE ring_tokens CASCADE');
  });
  afterAll(() => world.stop());

  async function oneDay(): Promise<void> {
    world.clock.advance(DAY + MINUTE);
    await tick(TASK);
  }
  const age = ({ account_id }: RingUser, interval: string) =>
    world.sql('UPDATE ring_tokens SET created_at = now() - $1::interval WHERE account_id = $2', [interval, account_id]);
  let release = () => Promise.resolve();
  async function holdLink({ account_id }: RingUser): Promise<void> {
    release = await holdLock(world, 'SELECT 1 FROM account_links WHERE account_id = $1 FOR UPDATE', [account_id]);
  }

  test('ends no link for its age by a clock that is 31 days ahead', async () => {
    const ringUsers = await manyLinks(world, 3);
    for (const ringUser of ringUsers) await age(ringUser, '0 s');

    world.clock.advance(31 * DAY);
    await tick(TASK);

    await untilStates(world, { '1 FINE': 3 });
    for (const ringUser of ringUsers) expect(await linksOf(world, ringUser)).toMatchObject([{ status: 'COMPLETED' }]);
  });

  test.each(['refresh_after', 'refresh_queued_until', 'refreshed_at'])(
    'takes pairs with a %s 60 days ahead, which no clock of today can have set',
    async (column) => {
      await manyLinks(world, 1);
      await world.sql(`UPDATE ring_tokens SET ${column} = $1`, [
        new Date(world.clock.now().getTime() + 60 * DAY * 1_000),
      ]);

      await oneDay();

      await untilStates(world, { '1 FINE': 1 });
    },
  );

  test('goes on with the others while a link is locked', async () => {
    const [held] = await manyLinks(world, 40);
    if (held === undefined) throw new Error('no links were made');
    await age(held, '1 hour');
    await holdLink(held);

    await oneDay();
    await untilStates(world, { '0 REFRESHING': 1, '1 FINE': 39 });

    await release();
    await untilStates(world, { '1 FINE': 40 });
  });

  test('goes on with the others while a link that has died of age is locked', async () => {
    const [dead] = await two(world);
    await age(dead, '31 days');
    world.clock.advance(DAY + MINUTE);
    // The pair has failed for long, and is not tried again just now.
    await world.sql('UPDATE ring_tokens SET refresh_after = $1 WHERE account_id = $2', [
      new Date(world.clock.now().getTime() + 30 * MINUTE * 1_000),
      dead.account_id,
    ]);
    await holdLink(dead);

    await tick(TASK);
    await untilStates(world, { '0 FINE': 1, '1 FINE': 1 });
    await release();
    await tick(TASK);

    await untilLink(world, dead, 'REAUTH_REQUIRED');
    expect(await refreshesOf(world, dead)).toEqual([]);
  });

  test('ends when Ring has refused ten in a row; what is left is tried by later ones', async () => {
    await manyLinks(world, 40);
    const refused = { kind: 'body', status: 400, contentType: 'application/json', body: '{"error":"invalid_grant"}' };
    await world.ring.setFaults([{ endpoint: 'token', fault: refused }]);
    const ended = async () => (await world.sql(`SELECT 1 FROM account_links WHERE status = 'REAUTH_REQUIRED'`)).length;
    const left = async (state: string) => (await statesOf(world))[state] ?? 0;

    await oneDay();
    await until('it is logged', () =>
      Promise.resolve(world.log.some((line) => line.includes('one refresh token after the other'))),
    );
    await until('the pass is over', async () => (await ended()) + (await left('0 FINE')) === 40);

    // Requests that were under way at that moment are finished.
    expect(await ended()).toBeGreaterThanOrEqual(10);
    expect(await ended()).toBeLessThan(20);
    await tick(TASK);
    await until('others are tried', async () => (await ended()) >= 20);
    await until('the pass is over', async () => (await ended()) + (await left('0 FINE')) === 40);
    expect(await ended()).toBeLessThan(40);
    await world.ring.setFaults([]);
    await tick(TASK);
    await until('the rest is refreshed', async () => (await ended()) + (await left('1 FINE')) === 40);
  });

  test('accepts anything that Ring says beside the two tokens, and stores them', async () => {
    const tokens = (name: string) => ({ access_token: `sim-at-${name}`, refresh_token: `sim-rt-${name}` });
    const answers = [
      { ...tokens('scope-null'), expires_in: 14_400, token_type: 'Bearer', scope: null },
      { ...tokens('scope-nul'), expires_in: 14_400, token_type: 'Bearer', scope: 'one\u0000two' },
      { ...tokens('text'), expires_in: '14400', token_type: 'Bearer', scope: 'one' },
      { ...tokens('untyped'), expires_in: 14_400, scope: 'one' },
    ];
    const other = await startWorld();
    const ringUsers = await manyLinks(other, answers.length);
    await other.ring.setFaults(
      answers.map((answer) => ({
        endpoint: 'token',
        fault: { kind: 'body', status: 200, contentType: 'application/json', body: JSON.stringify(answer) },
        times: 1,
      })),
    );
    try {
      other.clock.advance(DAY + MINUTE);
      await tick(TASK);
      await untilStates(other, { '1 FINE': answers.length });

      for (const ringUser of ringUsers) {
        expect(await linksOf(other, ringUser)).toMatchObject([{ status: 'COMPLETED' }]);
      }
      const vault = createVault(readConfig(other.environment).encryptionKeys);
      const pairs = await other.sql<SealedPair & Pick<Tables['ring_tokens'], 'id'>>('SELECT * FROM ring_tokens');
      const stored = pairs.map((pair) => openRefreshToken(vault, pair.id, pair));
      expect(stored.sort()).toEqual(answers.map(({ refresh_token }) => refresh_token).sort());
      expect(other.log.filter((line) => line.includes('is not stored'))).toEqual([]);
    } finally {
      // Otherwise the stop would wait for a pair that can't be stored.
      await other.stop();
    }
  });
});

describe('the calls of the background', () => {
  let world: World;
  let instances: string[];
  beforeAll(async () => {
    // Ring's log has to show how fast the calls came, so Ring needs a running clock.
    world = await startWorld({ ringNow: () => Date.now() });
    instances = [world.url, `http://localhost:${(await world.startAnother()).port}`];
    await runOnlyWhenTold();
  });
  afterEach(async () => {
    await world.ring.setFaults([]);
    await world.sql('TRUNCATE ring_tokens CASCADE');
    await world.sql(`DELETE FROM rate_limits WHERE key LIKE 'ring_calls%'`);
  });
  afterAll(() => world.stop());

  const becomeDue = () => world.sql(`UPDATE ring_tokens SET created_at = created_at - interval '25 hours'`);
  const times = (requests: RingRequest[]): number[] => requests.map(({ at }) => Number(at));
  /** The end of the pause for which Ring has asked, in epoch ms. */
  const pauseEnd = async (): Promise<number> => {
    const [limit] = await world.sql<Pick<Tables['rate_limits'], 'expire'>>(
      'SELECT expire FROM rate_limits WHERE key = $1',
      [LIMIT],
    );
    return Number(limit?.expire ?? 0);
  };
  test('leave a good part of what Ring allows to users, however many are due', async () => {
    await manyLinks(world, 160);
    await becomeDue();

    await tick(TASK);
    await untilStates(world, { '1 FINE': 160 });

    const refreshes = await allRefreshes(world);
    expect(refreshes).toHaveLength(160);
    const at = times(refreshes);
    expectPace(
      at.map((ms) => ms - Math.min(...at)),
      scaled(300),
    );
  });

  test('keep to that with any number of instances', async () => {
    const pools = Array.from({ length: 4 }, () => new pg.Pool({ connectionString: world.databaseUrl, max: 2 }));
    const budgets = pools.map((pool) => createCallBudget(pool, REFRESH_SHARE, () => false));
    const startedAt = performance.now();
    const taken: number[] = [];

    await Promise.all(
      budgets.flatMap((budget) =>
        Array.from({ length: 45 }, async () => {
          await budget.take();
          taken.push(performance.now() - startedAt);
        }),
      ),
    );
    for (const pool of pools) await pool.end();

    expect(taken).toHaveLength(180);
    expectPace(taken);
  });

  test('rest for as long as Ring says, on all instances, while users are served', async () => {
    await manyLinks(world, 60);
    world.clock.advance((Date.now() - world.clock.now().getTime()) / 1_000);
    const owner = await sharing(world);
    await becomeDue();
    await world.sql(
      `UPDATE ring_tokens SET access_token_expires_at = $1, created_at = $1, refreshed_at = $1 WHERE account_id = $2`,
      [world.clock.now(), owner.ringUser.account_id],
    );
    const pauseSeconds = 600;
    await world.ring.setFaults([
      { endpoint: 'token', fault: { kind: 'status', status: 429, retryAfterSeconds: pauseSeconds }, times: 1 },
    ]);

    await tickAndFinish(TASK, ...instances);
    const called = await allRefreshes(world);
    const refusedAt = Number(called.findLast(({ status }) => status === 429)?.at);
    const restsUntil = await pauseEnd();
    expect(restsUntil).toBeGreaterThanOrEqual(refusedAt + pauseSeconds * 1_000);
    expect(restsUntil).toBeLessThanOrEqual(Date.now() + pauseSeconds * 1_000);
    expect((await statesOf(world))['0 FINE']).toBeGreaterThan(1);

    await tickAndFinish(TASK, ...instances);
    expect(await allRefreshes(world)).toHaveLength(called.length);
    expect((await openLiveView(world.url, owner)).status).toBe(201);
    expect(await refreshesOf(world, owner.ringUser)).toMatchObject([{ status: 200 }]);

    // The pause is over.
    await world.sql('DELETE FROM rate_limits WHERE key = $1', [LIMIT]);
    await tick(TASK);
    await untilStates(world, { '0 FAILING': 1, '1 FINE': 60 });
  });

  test('rest for as long as Ring says, and not for as long as the pair that it answered', async () => {
    const pause = Math.ceil(scaled(3));
    await manyLinks(world, 1);
    await becomeDue();
    await world.sql(`UPDATE ring_tokens SET refresh_failures = 12, refresh_state = 'FAILING'`);
    await world.ring.setFaults([
      { endpoint: 'token', fault: { kind: 'status', status: 429, retryAfterSeconds: pause }, times: 1 },
    ]);
    await tick(TASK);
    const restsUntil = await until('they rest', async () => {
      const end = await pauseEnd();
      return end > Date.now() + 1_000 && end;
    });
    expect(restsUntil).toBeLessThanOrEqual(Date.now() + pause * 1_000);

    await manyLinks(world, 1);
    await world.sql(
      `UPDATE ring_tokens SET created_at = created_at - interval '25 hours' WHERE refresh_state = 'FINE'`,
    );

    await until('the other is refreshed', async () => {
      await tick(TASK);
      return (await statesOf(world))['1 FINE'] === 1;
    });
    expect(await statesOf(world)).toEqual({ '0 FAILING': 1, '1 FINE': 1 });
  });

  describe('rest', () => {
    let pool: pg.Pool;
    let budget: CallBudget;
    beforeAll(() => {
      pool = new pg.Pool({ connectionString: world.databaseUrl, max: 2 });
      budget = createCallBudget(pool, REFRESH_SHARE, () => false);
    });
    afterAll(() => pool.end());

    test('no longer than a moment when Ring says 0', async () => {
      await budget.pause(0);
      await until('there is a turn again', () => budget.take());
    });

    test('on when Ring says less than before', async () => {
      await budget.pause(600);
      await budget.pause(1);
      expect(await budget.take()).toBe(false);
    });

    test('no hours because of a clock that jumped back', async () => {
      await world.sql('INSERT INTO rate_limits (key, points, expire) VALUES ($1, 1000, $2)', [
        LIMIT,
        Date.now() + 3 * 3_600_000,
      ]);
      expect(await budget.take()).toBe(true);
    });
  });

  test('that wait for Ring do not keep the service from stopping', async () => {
    const other = await startWorld();
    await manyLinks(other, 2);
    other.clock.advance(DAY + MINUTE);
    await other.ring.setFaults([
      { endpoint: 'token', fault: { kind: 'status', status: 429, retryAfterSeconds: 600 }, times: 1 },
    ]);
    await tick(TASK);
    await until('Ring has had enough', async () => (await allRefreshes(other)).length > 0);
    await manyLinks(other, 1);
    other.clock.advance(DAY + MINUTE);
    await tick(TASK);

    // The service stops long before Ring's ten minutes are over.
    await other.stop();
  });
});
