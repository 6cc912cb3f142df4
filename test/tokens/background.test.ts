import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createRefreshBudget } from '../../src/tokens/refresh-budget.js';
import { tick } from '../support/clocks.js';
import { sharing } from '../support/devices.js';
import { cards, installed, linksOf, untilLink } from '../support/linking.js';
import type { RingRequest, RingUser } from '../support/ring.js';
import { DAY, manyLinks, MINUTE, openLiveView, refreshesOf, tokenOf } from '../support/tokens.js';
import { until } from '../support/until.js';
import { startWorld, type World } from '../support/world.js';

const CLOCK = 'refresh tokens';
/** Of the 100 requests a second that Ring allows; its log also tells of calls that were a little late. */
const [BACKGROUND_LIMIT, BACKGROUND_LIMIT_AT_RING] = [60, 75];

function allRefreshes(world: World): Promise<RingRequest[]> {
  return world.ring.requests().then((all) => all.filter((one) => one.grant_type === 'refresh_token'));
}

async function statesOf(world: World): Promise<Record<string, number>> {
  const rows = await world.sql<{ state: string; count: number }>(
    `SELECT generation || ' ' || refresh_state AS state, count(*)::int AS count FROM ring_tokens
      WHERE status = 'CLAIMED' GROUP BY 1`,
  );
  return Object.fromEntries(rows.map(({ state, count }) => [state, count]));
}

const untilStates = (world: World, states: Record<string, number>, limitMs?: number) =>
  until(
    `the pairs are ${JSON.stringify(states)}`,
    async () => JSON.stringify(await statesOf(world)) === JSON.stringify(states),
    limitMs,
  );

/** The most that came within one second, wherever that begins. */
function busiestSecond(times: readonly number[]): number {
  const sorted = [...times].sort((one, other) => one - other);
  return Math.max(0, ...sorted.map((from, index) => sorted.slice(index).filter((at) => at < from + 1_000).length));
}

describe('a refresh in the background', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld({ ringTimeoutMs: 1_000 });
    await world.startAnother();
  });
  afterEach(async () => {
    await world.ring.setFaults([]);
    await world.sql('TRUNCATE ring_tokens CASCADE');
  });
  afterAll(() => world.stop());

  async function two(): Promise<[RingUser, RingUser]> {
    const [first, second] = await manyLinks(world, 2);
    if (first === undefined || second === undefined) throw new Error('no links were made');
    return [first, second];
  }

  test('is due when the last one, or the first pair, is over 24 hours old', async () => {
    // One is a millisecond older; who is to be left alone is seen when it has been refreshed.
    const [younger, older] = await two();
    await world.sql(`UPDATE ring_tokens SET created_at = created_at - interval '1 ms' WHERE account_id = $1`, [
      older.account_id,
    ]);

    world.clock.advance(DAY);
    await tick(CLOCK);
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
    await tick(CLOCK);
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
    const [standing] = await two();

    world.clock.advance(DAY + MINUTE);
    await tick(CLOCK);
    await until('the one is refreshed', async () => (await tokenOf(world, standing)).generation === 1);

    for (const ringUser of [unclaimed, ...ended]) expect(await refreshesOf(world, ringUser)).toEqual([]);
  });

  test('is shared by the instances: each pair is refreshed once, however often the clocks tick', async () => {
    const before = (await allRefreshes(world)).length;
    await manyLinks(world, 35);
    world.clock.advance(DAY + MINUTE);

    await Promise.all([tick(CLOCK), tick(CLOCK), tick(CLOCK)]);
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

    await tick(CLOCK);
    await untilStates(world, { '0 UNCERTAIN': 5, '1 FINE': 20 });

    world.clock.advance(6 * MINUTE);
    await tick(CLOCK);
    await untilStates(world, { '1 FINE': 25 });
  });

  test('is not put off to the next day after a refresh that a user waited for has failed', async () => {
    const owner = await sharing(world);
    world.clock.advance(4 * 60 * MINUTE);
    await world.ring.setFaults([{ endpoint: 'token', fault: { kind: 'reset' }, times: 1 }]);
    expect((await openLiveView(world.url, owner)).status).toBe(502);
    expect(await tokenOf(world, owner.ringUser)).toMatchObject({ refresh_state: 'UNCERTAIN' });

    world.clock.advance(MINUTE);
    await tick(CLOCK);

    await untilStates(world, { '1 FINE': 1 });
  });

  test('is tried with a token that is 20 days old, and still good', async () => {
    const [ringUser] = await two();
    world.clock.advance(20 * DAY);
    await tick(CLOCK);
    await untilStates(world, { '1 FINE': 2 });
    expect(await linksOf(world, ringUser)).toMatchObject([{ status: 'COMPLETED' }]);
  });

  test('is not tried with a token over 30 days old: its user has to link again', async () => {
    const owner = await sharing(world);
    const { ringUser } = owner;
    await world.ring.setFaults([{ endpoint: 'token', fault: { kind: 'status', status: 500 } }]);
    world.clock.advance(DAY + MINUTE);
    await tick(CLOCK);
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
    await tick(CLOCK);
    await tick(CLOCK);
    expect(await linksOf(world, ringUser)).toMatchObject([{ status: 'COMPLETED' }]);

    await age('30 days 1 second');
    await tick(CLOCK);
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
                refresh_after = 'infinity' WHERE account_id = $2`,
        [seconds, ringUser?.account_id],
      );
    await start(young, 40);
    await start(old, 46);

    await tick(CLOCK);
    await until('the older one is noted', async () => (await statesOf(world))['0 UNCERTAIN'] === 1);

    expect(await statesOf(world)).toEqual({ '0 REFRESHING': 1, '0 UNCERTAIN': 1 });
    await world.sql(`UPDATE ring_tokens SET refresh_state = 'FINE'`);
  });
});

describe('the calls of the background', () => {
  let world: World;
  beforeAll(async () => {
    // Ring's log has to tell how fast they came.
    world = await startWorld({ ringNow: () => Date.now() });
    await world.startAnother();
  });
  afterEach(async () => {
    await world.ring.setFaults([]);
    await world.sql('TRUNCATE ring_tokens CASCADE');
    await world.sql(`DELETE FROM rate_limits WHERE key LIKE 'ring_calls%'`);
  });
  afterAll(() => world.stop());

  const becomeDue = () => world.sql(`UPDATE ring_tokens SET created_at = created_at - interval '25 hours'`);
  const times = (requests: RingRequest[]): number[] => requests.map(({ at }) => Number(at));

  test('leave a good part of what Ring allows to users, however many are due', async () => {
    await manyLinks(world, 160);
    await becomeDue();

    await tick(CLOCK);
    await untilStates(world, { '1 FINE': 160 }, 30_000);

    const refreshes = await allRefreshes(world);
    expect(refreshes).toHaveLength(160);
    expect(busiestSecond(times(refreshes))).toBeLessThanOrEqual(BACKGROUND_LIMIT_AT_RING);
  }, 60_000);

  test('keep to that with any number of instances', async () => {
    const pools = Array.from({ length: 4 }, () => new pg.Pool({ connectionString: world.databaseUrl, max: 2 }));
    const budgets = pools.map((pool) => createRefreshBudget(pool, () => false));
    const taken: number[] = [];

    await Promise.all(
      budgets.flatMap((budget) =>
        Array.from({ length: 45 }, async () => {
          await budget.take();
          taken.push(Date.now());
        }),
      ),
    );
    for (const pool of pools) await pool.end();

    expect(taken).toHaveLength(180);
    expect(busiestSecond(taken)).toBeLessThanOrEqual(BACKGROUND_LIMIT);
  }, 60_000);

  test('rest for as long as Ring says, on all instances, while users are served', async () => {
    const before = (await allRefreshes(world)).length;
    await manyLinks(world, 60);
    world.clock.advance((Date.now() - world.clock.now().getTime()) / 1_000);
    const owner = await sharing(world);
    await becomeDue();
    await world.sql(
      `UPDATE ring_tokens SET access_token_expires_at = $1, created_at = $1, refreshed_at = $1 WHERE account_id = $2`,
      [world.clock.now(), owner.ringUser.account_id],
    );
    await world.ring.setFaults([
      { endpoint: 'token', fault: { kind: 'status', status: 429, retryAfterSeconds: 4 }, times: 1 },
    ]);

    await tick(CLOCK);
    await until('Ring has had enough', async () => (await allRefreshes(world)).length > before);
    await until('they rest', async () => {
      const last = Math.max(...times(await allRefreshes(world)));
      return Date.now() - last > 700;
    });
    expect((await openLiveView(world.url, owner)).status).toBe(201);
    expect(await refreshesOf(world, owner.ringUser)).toMatchObject([{ status: 200 }]);
    await until(
      'the pause is over',
      async () => {
        await tick(CLOCK);
        return (await statesOf(world))['1 FINE'] === 60;
      },
      30_000,
    );
    await untilStates(world, { '0 FAILING': 1, '1 FINE': 60 }, 30_000);

    const refreshes = (await allRefreshes(world)).slice(before);
    const refusedAt = Number(refreshes.find((one) => one.status === 429)?.at);
    const inPause = refreshes.filter(
      ({ at, account_id }) =>
        account_id !== owner.ringUser.account_id && Number(at) > refusedAt + 500 && Number(at) < refusedAt + 4_000,
    );
    expect(inPause).toEqual([]);
  }, 60_000);

  test('that wait for Ring do not keep the service from stopping', async () => {
    const other = await startWorld();
    await manyLinks(other, 2);
    other.clock.advance(DAY + MINUTE);
    await other.ring.setFaults([
      { endpoint: 'token', fault: { kind: 'status', status: 429, retryAfterSeconds: 600 }, times: 1 },
    ]);
    await tick(CLOCK);
    await until('Ring has had enough', async () => (await allRefreshes(other)).length > 0);
    await manyLinks(other, 1);
    other.clock.advance(DAY + MINUTE);
    await tick(CLOCK);

    const begun = performance.now();
    await other.stop();
    // The process gives a stop 20 s.
    expect(performance.now() - begun).toBeLessThan(15_000);
  }, 60_000);
});
