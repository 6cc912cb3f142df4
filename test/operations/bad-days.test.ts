import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type Tables } from '../../src/database/tables.js';
import { type Owner, recordNow, sharing } from '../support/features/devices.js';
import { arriving, installed, linksOf, once, signedIn, untilLink } from '../support/features/linking.js';
import { openLiveView } from '../support/features/live-views.js';
import { HOUR, WRONG_BODIES, refreshesOf, tokenOf } from '../support/features/tokens.js';
import { untilJobsAreDone } from '../support/waiting/jobs.js';
import { scaled } from '../support/waiting/limits.js';
import { tick } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import { startOwnPostgres } from '../support/worlds/postgres.js';
import {
  type AppProcess,
  type Probe,
  type ProcessWorld,
  createProcessWorld,
  statusOf,
} from '../support/worlds/process.js';
import { type Fault } from '../support/worlds/ring.js';
import { TestClock, type World, startWorld } from '../support/worlds/world.js';

describe('Ring that answers 200 and nonsense, or nothing', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld({ ringTimeoutMs: scaled(1_000) });
  });
  afterEach(async () => {
    await world.ring.setFaults([]);
    await world.sql('DELETE FROM scheduled_operations');
  });
  afterAll(() => world.stop());

  const TROUBLES: [what: string, fault: Fault['fault'], error: RegExp][] = [
    ...WRONG_BODIES.map(([what, fault]): [string, Fault['fault'], RegExp] => [what, fault, /^malformed 200$/]),
    ['silence', { kind: 'silence' }, /^no-answer$/],
  ];

  test.each(TROUBLES)('(%s) loses nothing of a new link: it is asked again', async (_what, fault) => {
    const from = world.log.length;
    await world.ring.setFaults([once('devices', fault), once('subscriptions', fault), once('users-me', fault)]);

    const owner = await sharing(world);
    await untilJobsAreDone(world, 'fetch_subscriptions');

    expect(await linksOf(world, owner.ringUser)).toMatchObject([{ status: 'COMPLETED' }]);
    expect(await world.sql('SELECT fetch_error FROM devices WHERE id = $1', [owner.device.id])).toEqual([
      { fetch_error: null },
    ]);
    const told = world.log.slice(from).join('');
    for (const path of ['GET /v1/devices', 'GET /v1/accounts/me/subscriptions', 'GET /v1/users/me']) {
      expect(told).toContain(`Ring, ${path}: `);
    }
    expect(told).not.toMatch(/sim-(at|rt)-/);
  });

  test.each(TROUBLES)('(%s) refuses a live view, and the next one is opened', async (_what, fault) => {
    const owner = await sharing(world);
    await world.ring.setFaults([once('whep-post', fault)]);

    const refused = await openLiveView(world.url, owner);

    expect(refused.status).toBe(502);
    expect(refused.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect((await openLiveView(world.url, owner)).status).toBe(201);
    expect(await statusOf(`${world.url}/livez`)).toBe(200);
  });

  test.each(TROUBLES)('(%s) costs one picture at most', async (_what, fault, error) => {
    const owner = await sharing(world);
    await schedule(owner);
    await world.ring.setFaults([{ endpoint: 'image', fault }]);
    world.clock.advance(HOUR);
    await tick('start due snapshots');

    await until('the picture is given up', async () => {
      await untilJobsAreDone(world, 'take_snapshot');
      const [schedule] = await schedulesOf(world, owner);
      return error.test(schedule?.last_error ?? '');
    });

    await world.ring.setFaults([]);
    world.clock.advance(HOUR);
    await recordNow(world, owner);
    await tick('start due snapshots');
    await untilPictures(world, owner, 1);
    expect(await schedulesOf(world, owner)).toMatchObject([{ status: 'ACTIVE', last_error: null }]);
  });

  test.each(TROUBLES)('(%s) to a question about one device does not remove it', async (_what, fault) => {
    const owner = await sharing(world);
    await world.ring.setFaults([once('device', fault)]);
    world.clock.advance(1);

    await world.ring.sendEvent({ user_id: owner.ringUser.id, type: 'device_added', effect: false });

    await until('the device is fetched', async () => {
      await untilJobsAreDone(world, 'fetch_device');
      const [device] = await world.sql<Pick<Tables['devices'], 'fetched_at'>>(
        'SELECT fetched_at FROM devices WHERE id = $1 AND removed_at IS NULL AND fetch_error IS NULL',
        [owner.device.id],
      );
      return device?.fetched_at?.getTime() === world.clock.now().getTime() - 5_000;
    });
  });
});

describe('a clock that is an hour ahead, and then right again', () => {
  let world: World;
  /** The true time, which is Ring's. */
  const truth = new TestClock();
  beforeAll(async () => {
    world = await startWorld({ ringNow: () => truth.now().getTime() });
    goRight();
  });
  afterAll(() => world.stop());

  const AHEAD = HOUR;
  const goTo = (ms: number) => {
    world.clock.advance((ms - world.clock.now().getTime()) / 1_000);
  };
  const goRight = () => {
    goTo(truth.now().getTime());
  };
  const goAhead = () => {
    goTo(truth.now().getTime() + AHEAD * 1_000);
  };
  function pass(seconds: number): void {
    truth.advance(seconds);
    world.clock.advance(seconds);
  }
  const view = async (owner: Owner) => (await openLiveView(world.url, owner)).status;

  test('costs a refresh too many or a 401, and no link', async () => {
    const owner = await sharing(world);
    pass(3.5 * HOUR);

    goAhead();
    expect(await view(owner)).toBe(201);
    expect(await tokenOf(world, owner.ringUser)).toMatchObject({ generation: 1 });
    goRight();
    expect(await view(owner)).toBe(201);
    // By the row the token holds for another hour, but by Ring's clock it has run out.
    pass(4 * HOUR);
    expect(await view(owner)).toBe(201);

    expect(await tokenOf(world, owner.ringUser)).toMatchObject({ generation: 2, refresh_state: 'FINE' });
    expect(await linksOf(world, owner.ringUser)).toMatchObject([{ status: 'COMPLETED' }]);
  });

  test('makes no pause of a second last an hour', async () => {
    const owner = await sharing(world);
    pass(4 * HOUR);
    goAhead();
    await world.ring.setFaults([once('token', { kind: 'status', status: 503 })]);
    expect(await view(owner)).toBe(502);

    goRight();

    expect(await view(owner)).toBe(201);
    expect(await refreshesOf(world, owner.ringUser)).toMatchObject([{ status: 503 }, { status: 200 }]);
  });

  test('refreshes in the background once, and again a day later', async () => {
    const owner = await sharing(world);
    pass(23.5 * HOUR);
    goAhead();
    await tick('refresh tokens');
    await until('it is refreshed', async () => (await tokenOf(world, owner.ringUser)).generation === 1);
    goRight();
    await tick('refresh tokens');
    pass(26 * HOUR);
    await tick('refresh tokens');
    await until('it is refreshed again', async () => (await tokenOf(world, owner.ringUser)).generation === 2);
    expect(await refreshesOf(world, owner.ringUser)).toHaveLength(2);
  });

  test('takes a picture early, leaves out one, and goes on', async () => {
    const owner = await sharing(world);
    await schedule(owner);
    goAhead();
    await recordNow(world, owner);
    await tick('start due snapshots');
    await untilPictures(world, owner, 1);
    goRight();
    pass(2 * HOUR);
    await recordNow(world, owner);
    await tick('start due snapshots');
    await untilPictures(world, owner, 2);
  });

  test('asks users who link meanwhile to tap Sign In again, and links them then', async () => {
    const ringUser = await installed(world);
    goAhead();
    const visitor = await signedIn(world);
    await arriving(world, ringUser, visitor);
    expect(visitor.page.status).toBeLessThan(500);

    goRight();
    await arriving(world, ringUser, visitor);
    await visitor.submit('/ring/link');
    await untilLink(world, ringUser, 'COMPLETED');
  });
});

describe('with a process of its own,', () => {
  let world: ProcessWorld;
  let app: AppProcess;
  beforeAll(async () => {
    world = await createProcessWorld();
    app = await world.startApp();
  });
  afterEach(() => world.ring.setFaults([]));
  afterAll(() => world.stop());

  const NOWHERE = 'http://ring.invalid';

  async function restart(environment: Record<string, string> = {}, probe?: Probe): Promise<void> {
    app.kill('SIGTERM');
    await app.ended;
    app = await world.startApp(environment, probe);
  }

  test('a name of Ring’s API that does not resolve keeps new users waiting, and loses none', async () => {
    const owner = await sharing(world);
    await restart({ RING_API_URL: NOWHERE });
    const ringUser = await world.ring.createUser();
    expect((await world.ring.install(ringUser)).callback?.status).toBe(200);
    await until('it is tried again', () => Promise.resolve(app.stdout().includes('GET /v1/users/me: unreachable')));
    expect((await openLiveView(world.url, owner)).status).toBe(502);
    expect(await statusOf(`${world.url}/readyz`)).toBe(200);

    await restart();

    await until('the pair is in the pool', async () => {
      const pairs = await world.sql(`SELECT 1 FROM ring_tokens WHERE account_id = $1 AND status = 'UNCLAIMED'`, [
        ringUser.account_id,
      ]);
      return pairs.length === 1;
    });
    const visitor = await arriving(world, ringUser, await signedIn(world));
    await visitor.submit('/ring/link');
    await untilLink(world, ringUser, 'COMPLETED');
    expect((await openLiveView(world.url, owner)).status).toBe(201);
  });

  test('a name of Ring’s OAuth server that does not resolve keeps every pair', async () => {
    const owner = await sharing(world);
    await restart({ RING_OAUTH_URL: NOWHERE });
    await expire(owner);

    expect((await openLiveView(world.url, owner)).status).toBe(502);

    expect(await tokenOf(world, owner.ringUser)).toMatchObject({
      status: 'CLAIMED',
      generation: 0,
      refresh_state: 'FAILING',
      refresh_error: 'unreachable',
    });
    expect(app.stdout()).toContain('POST /oauth/token: unreachable');
    await restart();
    await until('a live view is opened', async () => (await openLiveView(world.url, owner)).status === 201);
    expect(await tokenOf(world, owner.ringUser)).toMatchObject({ generation: 1, refresh_state: 'FINE' });
  });

  test('a key with the right id and other bytes opens nothing, ends nothing, and is told', async () => {
    const owner = await sharing(world);
    const before = await tokenOf(world, owner.ringUser);
    await restart({ TOKEN_ENCRYPTION_KEYS: `test:${randomBytes(32).toString('base64')}` }, '/livez');

    expect((await openLiveView(world.url, owner)).status).toBe(500);
    await world.sql(`SELECT graphile_worker.add_job('fetch_inventory', $1::json)`, [
      JSON.stringify({ accountId: owner.ringUser.account_id, attempt: 1 }),
    ]);
    await world.sql(`UPDATE ring_tokens SET created_at = now() - interval '25 hours' WHERE id = $1`, [before.id]);
    await until(
      'the background has tried',
      async () => (await tokenOf(world, owner.ringUser)).refresh_state === 'FAILING',
    );

    expect(await statusOf(`${world.url}/livez`)).toBe(200);
    const readiness = await fetch(`${world.url}/readyz`);
    expect(readiness.status).toBe(503);
    expect(await readiness.json()).toMatchObject({ checks: { keys: 'failed', database: 'ok' } });
    expect(await (await fetch(`${world.url}/metrics`)).text()).toContain('ring_link_ready{check="keys"} 0');
    expect(app.stdout()).toContain('"keys":["test"]');
    expect(app.stdout()).toContain('does not open here: altered, moved, or another key');
    expect(await linksOf(world, owner.ringUser)).toMatchObject([{ status: 'COMPLETED' }]);
    expect(await tokenOf(world, owner.ringUser)).toMatchObject({
      generation: 0,
      refresh_token_ciphertext: before.refresh_token_ciphertext,
    });
    expect(await refreshesOf(world, owner.ringUser)).toEqual([]);
    await restart();
    expect((await openLiveView(world.url, owner)).status).toBe(201);
    await expire(owner);
    await until('it is refreshed', async () => {
      await openLiveView(world.url, owner);
      return (await tokenOf(world, owner.ringUser)).generation === 1;
    });
  });

  function expire(owner: Owner): Promise<unknown> {
    return world.sql('UPDATE ring_tokens SET access_token_expires_at = now() WHERE account_id = $1', [
      owner.ringUser.account_id,
    ]);
  }
});

describe('Postgres that restarts while Ring answers a refresh', () => {
  test.each(['stop', 'kill9'] as const)('(%s) does not lose the new pair', async (end) => {
    const postgres = await startOwnPostgres();
    const world = await createProcessWorld({ databaseUrl: postgres.url });
    try {
      const app = await world.startApp();
      const owner = await sharing(world);
      const expire = () => world.sql('UPDATE ring_tokens SET access_token_expires_at = now()');
      await expire();
      await world.ring.setFaults([once('token', { kind: 'hold' }, 'after')]);
      openLiveView(world.url, owner).catch(() => undefined);
      await until('Ring is asked', async () => (await refreshesOf(world, owner.ringUser)).length === 1);
      await postgres[end]();
      await world.ring.release();
      await until('Ring has answered', async () => {
        const [refresh] = await refreshesOf(world, owner.ringUser);
        return refresh?.status === 200;
      });
      await until('the write has failed', () =>
        Promise.resolve(app.stdout().includes('a new token pair is not stored; trying again')),
      );
      await postgres.restart();

      await until('the pair is stored', async () => (await tokenOf(world, owner.ringUser)).generation === 1);
      expect(await tokenOf(world, owner.ringUser)).toMatchObject({ refresh_state: 'FINE' });
      await until('the service is ready', async () => (await statusOf(`${world.url}/readyz`)) === 200);
      await expire();
      expect((await openLiveView(world.url, owner)).status).toBe(201);
      expect(await tokenOf(world, owner.ringUser)).toMatchObject({ generation: 2 });
      expect(app.hasEnded()).toBe(false);
      expect(app.stdout()).not.toMatch(/sim-(at|rt)-/);
    } finally {
      await world.stop();
      await postgres.remove();
    }
  });
});

async function schedule({ visitor, path }: Owner): Promise<void> {
  await visitor.open(path);
  await visitor.submit(`${path}/scheduled-operations`, { frequency: 'HOURLY' });
  expect(visitor.page.status).toBe(200);
}

function schedulesOf(world: World, { ringUser }: Owner): Promise<{ status: string; last_error: string | null }[]> {
  return world.sql('SELECT status, last_error FROM scheduled_operations WHERE account_id = $1', [ringUser.account_id]);
}

function untilPictures(world: World, { ringUser }: Owner, count: number): Promise<boolean> {
  return until(`${count} pictures are there`, async () => {
    const pictures = await world.sql('SELECT 1 FROM snapshots WHERE account_id = $1', [ringUser.account_id]);
    return pictures.length === count;
  });
}
