import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { type Tables } from '../../src/database/tables.js';
import { type Owner, recordNow, sharing } from '../support/features/devices.js';
import { untilApplied } from '../support/features/inbox.js';
import {
  arriving,
  cards,
  installed,
  isErased,
  linksOf,
  once,
  signedIn,
  untilLink,
} from '../support/features/linking.js';
import { openLiveView } from '../support/features/live-views.js';
import {
  ACCESS_LIFETIME,
  apiCallsOf,
  HOUR,
  MINUTE,
  refreshesOf,
  tokenOf,
  WRONG_BODIES,
} from '../support/features/tokens.js';
import { untilJobsAreDone } from '../support/waiting/jobs.js';
import { scaled } from '../support/waiting/limits.js';
import { tick } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import type { Fault } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

const RING_TIMEOUT_MS = scaled(2_000);

let world: World;
/** The addresses of two instances. */
let urls: [string, string];
beforeAll(async () => {
  world = await startWorld({ ringTimeoutMs: RING_TIMEOUT_MS });
  urls = [world.url, `http://localhost:${(await world.startAnother()).port}`];
});
afterEach(async () => {
  await world.ring.setFaults([]);
  await world.sql('DELETE FROM scheduled_operations');
  // Time goes on for all tests: users of earlier tests must not be refreshed in the background, and meet faults of
  // later ones.
  await world.sql(`UPDATE ring_tokens SET refreshed_at = $1, refresh_state = 'FINE' WHERE status = 'CLAIMED'`, [
    world.clock.now(),
  ]);
});
afterAll(() => world.stop());

const view = (owner: Owner, url = world.url) => openLiveView(url, owner);
const viewStatus = async (owner: Owner, url = world.url): Promise<number> => (await view(owner, url)).status;

const status = (code: number, more: object = {}): Fault['fault'] => ({ kind: 'status', status: code, ...more });
const json = (code: number, body: object): Fault['fault'] => ({
  kind: 'body',
  status: code,
  contentType: 'application/json',
  body: JSON.stringify(body),
});

/** A user whose access token runs out just now. */
async function expiring(): Promise<Owner> {
  const owner = await sharing(world);
  world.clock.advance(ACCESS_LIFETIME);
  return owner;
}

/** A user whose access token is to be replaced, and holds yet. */
async function nearlyExpiring(): Promise<Owner> {
  const owner = await sharing(world);
  world.clock.advance(ACCESS_LIFETIME - MINUTE);
  return owner;
}

async function statusesOf(refreshes: ReturnType<typeof refreshesOf>): Promise<(number | null)[]> {
  return (await refreshes).map((one) => one.status);
}

async function expectWhole(owner: Owner, generation: number): Promise<void> {
  expect(await tokenOf(world, owner.ringUser)).toMatchObject({
    status: 'CLAIMED',
    generation,
    refresh_state: 'FINE',
    refresh_failures: 0,
    refresh_error: null,
    refresh_after: null,
  });
  expect(await linksOf(world, owner.ringUser)).toMatchObject([{ status: 'COMPLETED' }]);
}

/** Expects the stored refresh token to be the one that Ring accepts. */
async function expectRefreshable(owner: Owner): Promise<void> {
  const { generation } = await tokenOf(world, owner.ringUser);
  world.clock.advance(ACCESS_LIFETIME);
  expect(await viewStatus(owner)).toBe(201);
  await expectWhole(owner, generation + 1);
}

describe('an access token', () => {
  test('is used until 5 minutes before its end, and replaced from then on', async () => {
    const owner = await sharing(world);
    const before = await tokenOf(world, owner.ringUser);

    world.clock.advance(ACCESS_LIFETIME - 5 * MINUTE - 1);
    expect(await viewStatus(owner)).toBe(201);
    expect(await refreshesOf(world, owner.ringUser)).toEqual([]);

    world.clock.advance(1);
    expect(await viewStatus(owner)).toBe(201);
    expect(await viewStatus(owner)).toBe(201);
    expect(await refreshesOf(world, owner.ringUser)).toMatchObject([{ status: 200 }]);
    await expectWhole(owner, 1);
    const after = await tokenOf(world, owner.ringUser);
    expect(after.refreshed_at).toEqual(world.clock.now());
    expect(after.access_token_expires_at.getTime() - world.clock.now().getTime()).toBe(ACCESS_LIFETIME * 1_000);
    expect(after.access_token_ciphertext).not.toEqual(before.access_token_ciphertext);
    expect(after.refresh_token_ciphertext).not.toEqual(before.refresh_token_ciphertext);
    await expectRefreshable(owner);
  });

  test('that 50 callers on two instances need at once is replaced by one refresh', async () => {
    const owner = await expiring();
    await world.ring.setFaults([once('token', { kind: 'delay', ms: 500 })]);

    const statuses = await Promise.all(
      Array.from({ length: 50 }, (_, index) => viewStatus(owner, urls[index % 2 === 0 ? 0 : 1])),
    );

    expect(statuses.filter((one) => one !== 201)).toEqual([]);
    expect(await refreshesOf(world, owner.ringUser)).toHaveLength(1);
    await expectWhole(owner, 1);
    await expectRefreshable(owner);
  });

  test('that another caller is replacing is used while it holds, rather than waiting for the new one', async () => {
    const other = await expiring();
    const owner = await sharing(world);
    world.clock.advance(ACCESS_LIFETIME - 4 * MINUTE);
    await world.sql(
      `UPDATE ring_tokens SET refresh_state = 'REFRESHING', refresh_started_at = now() WHERE account_id = ANY ($1)`,
      [[owner, other].map(({ ringUser }) => ringUser.account_id)],
    );

    // If there is no other way, the callers wait for the other refresh, and give up in the end.
    const answered: number[] = [];
    const helpless = viewStatus(other).then((status) => answered.push(status));
    expect(answered.push(await viewStatus(owner))).toBe(1);
    await helpless;

    expect(answered[0]).toBe(201);
    expect(answered[1]).toBeGreaterThanOrEqual(500);
    expect(await refreshesOf(world, owner.ringUser)).toEqual([]);
    expect(await tokenOf(world, owner.ringUser)).toMatchObject({ generation: 0, refresh_state: 'REFRESHING' });
  });
});

describe('an access token that Ring does not take', () => {
  const whepCalls = async (owner: Owner) =>
    (await apiCallsOf(world, owner.ringUser)).filter(({ path }) => path.includes('/whep/')).map((one) => one.status);

  test('is replaced once, and the call repeated', async () => {
    const owner = await sharing(world);
    await world.ring.setFaults([once('whep-post', status(401))]);

    expect(await viewStatus(owner)).toBe(201);

    expect(await whepCalls(owner)).toEqual([401, 201]);
    expect(await statusesOf(refreshesOf(world, owner.ringUser))).toEqual([200]);
    await expectWhole(owner, 1);
  });

  test('has one successor for the same call, also when Ring does not take that one, and the link stays', async () => {
    const owner = await sharing(world);
    await world.ring.setFaults([{ endpoint: 'whep-post', fault: status(401) }]);

    expect(await viewStatus(owner)).toBe(502);

    expect(await whepCalls(owner)).toEqual([401, 401]);
    expect(await statusesOf(refreshesOf(world, owner.ringUser))).toEqual([200]);
    await expectWhole(owner, 1);
    await world.ring.setFaults([]);
    expect(await viewStatus(owner)).toBe(201);
  });

  test('and each of its successors is replaced once a minute at most, however often its user tries', async () => {
    const owner = await sharing(world);
    await world.ring.setFaults([{ endpoint: 'whep-post', fault: status(401) }]);

    for (let click = 0; click < 5; click++) {
      expect(await viewStatus(owner, urls[click % 2 === 0 ? 0 : 1])).toBe(502);
      world.clock.advance(10);
    }

    expect(await statusesOf(refreshesOf(world, owner.ringUser))).toEqual([200]);
    await expectWhole(owner, 1);
    world.clock.advance(MINUTE);
    await world.ring.setFaults([once('whep-post', status(401))]);
    expect(await viewStatus(owner)).toBe(201);
    await expectWhole(owner, 2);
  });

  test('is replaced once for 20 callers on two instances', async () => {
    const owner = await expiring();
    // The access token is refused as if Ring had ended it early.
    await world.sql(`UPDATE ring_tokens SET access_token_expires_at = $1 WHERE account_id = $2`, [
      new Date(world.clock.now().getTime() + HOUR * 1_000),
      owner.ringUser.account_id,
    ]);

    const statuses = await Promise.all(
      Array.from({ length: 20 }, (_, index) => viewStatus(owner, urls[index % 2 === 0 ? 0 : 1])),
    );

    expect(statuses.filter((one) => one !== 201)).toEqual([]);
    expect(await refreshesOf(world, owner.ringUser)).toHaveLength(1);
    await expectWhole(owner, 1);
  });

  test('is not replaced while Ring wants to be left alone', async () => {
    const owner = await nearlyExpiring();
    await world.ring.setFaults([
      once('token', status(429, { retryAfterSeconds: 30 })),
      { endpoint: 'whep-post', fault: status(401) },
    ]);

    expect(await viewStatus(owner)).toBe(502);
    expect(await viewStatus(owner)).toBe(502);
    expect(await viewStatus(owner, urls[1])).toBe(502);
    expect(await statusesOf(refreshesOf(world, owner.ringUser))).toEqual([429]);

    world.clock.advance(30);
    await world.ring.setFaults([]);
    expect(await viewStatus(owner)).toBe(201);
    await expectWhole(owner, 1);
  });
});

describe('a refresh token that Ring takes no more', () => {
  const SCHEDULES = 'UPDATE scheduled_operations SET next_run_at = $1 WHERE account_id = $2';

  /** A user whose tokens Ring has revoked, which we have just learned. */
  async function revoked(): Promise<Owner> {
    const owner = await sharing(world);
    await owner.visitor.open(owner.path);
    await owner.visitor.submit(`${owner.path}/scheduled-operations`, { frequency: 'HOURLY' });
    await world.ring.removeApp(owner.ringUser);
    expect(await viewStatus(owner)).toBe(404);
    await untilLink(world, owner.ringUser, 'REAUTH_REQUIRED');
    return owner;
  }

  test('ends the pair, and leaves a link that its user has to make again', async () => {
    const owner = await revoked();

    expect(await linksOf(world, owner.ringUser)).toMatchObject([
      { status: 'REAUTH_REQUIRED', last_error: 'rejected 400 invalid_grant', confirmation_step: null },
    ]);
    const token = await tokenOf(world, owner.ringUser);
    expect(token).toMatchObject({ status: 'REVOKED' });
    expect(isErased(token)).toBe(true);
    expect(await statusesOf(refreshesOf(world, owner.ringUser))).toEqual([400]);
  });

  test('is not sent again, by any caller', async () => {
    const owner = await revoked();
    const before = await apiCallsOf(world, owner.ringUser);

    expect(await viewStatus(owner)).toBe(404);
    await world.sql(SCHEDULES, [world.clock.now(), owner.ringUser.account_id]);
    await tick('start due snapshots');
    await tick('refresh tokens');
    await world.ring.sendEvent({ user_id: owner.ringUser.id, type: 'device_online', effect: false });
    for (const task of ['fetch_inventory', 'fetch_device', 'fetch_subscriptions']) {
      const payload = { accountId: owner.ringUser.account_id, deviceId: owner.device.id, attempt: 1 };
      await world.sql(`SELECT graphile_worker.add_job($1, $2::json)`, [
        task,
        JSON.stringify({ ...payload, occurredAt: world.clock.now() }),
      ]);
    }
    await untilApplied(world, owner.ringUser);
    for (const task of ['take_snapshot', 'fetch_inventory', 'fetch_device', 'fetch_subscriptions']) {
      await untilJobsAreDone(world, task);
    }

    expect(await statusesOf(refreshesOf(world, owner.ringUser))).toEqual([400]);
    expect(await apiCallsOf(world, owner.ringUser)).toEqual(before);
  });

  test('is told on the home page, with the way to link again in the Ring app', async () => {
    const owner = await revoked();

    await owner.visitor.open('/ring/home');

    expect(cards(owner.visitor)).toEqual(['Has to be linked again']);
    expect(owner.visitor.page.text).toMatch(/In the Ring app, remove the app under My Apps and add it again/);
  });

  test('is made good by a new linking: the devices are fetched, the inbox is applied, the schedules go on', async () => {
    const owner = await revoked();
    const { ringUser, visitor, device } = owner;
    const [{ id: former } = { id: '' }] = await linksOf(world, ringUser);
    world.clock.advance(MINUTE);
    await installed(world, ringUser);
    await arriving(world, ringUser, visitor);
    await world.ring.setFaults([{ endpoint: 'integration-post', fault: status(503) }]);
    await visitor.submit('/ring/link');
    await untilLink(world, ringUser, 'CONFIRMING');
    const { request_id } = await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected' });
    await world.ring.setFaults([]);

    const link = await untilLink(world, ringUser, 'COMPLETED');

    expect(link.id).toBe(former);
    await until('the devices are fetched anew', async () => {
      const [found] = await world.sql<Pick<Tables['devices'], 'fetched_at'>>(
        'SELECT fetched_at FROM devices WHERE id = $1',
        [device.id],
      );
      return found?.fetched_at?.getTime() === askedNow().getTime();
    });
    await until('the event is applied', async () => {
      const events = await world.sql('SELECT 1 FROM device_events WHERE request_id = $1', [request_id]);
      return events.length === 1;
    });
    expect(await viewStatus(owner)).toBe(201);
    await world.sql(SCHEDULES, [world.clock.now(), ringUser.account_id]);
    await recordNow(world, owner);
    await tick('start due snapshots');
    await until('a picture is there', async () => {
      const pictures = await world.sql('SELECT 1 FROM snapshots WHERE account_id = $1', [ringUser.account_id]);
      return pictures.length === 1;
    });
    await visitor.open('/ring/home');
    expect(cards(visitor)).toEqual(['Linked']);
    await expectWhole(owner, 0);
    await expectRefreshable(owner);
  });

  test('before its link was confirmed has to be linked again, too', async () => {
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser, await signedIn(world));
    await world.ring.setFaults([
      once('integration-post', status(401)),
      once('token', json(400, { error: 'invalid_grant', error_description: 'revoked' })),
    ]);

    await visitor.submit('/ring/link');

    expect(await untilLink(world, ringUser, 'REAUTH_REQUIRED')).toMatchObject({ request_ciphertext: null });
    expect(isErased(await tokenOf(world, ringUser))).toBe(true);
  });
});

describe('an error that is not about the refresh token', () => {
  test.each<[what: string, fault: Fault['fault']]>([
    ['Ring does not know the address (404)', json(404, { error: 'invalid_request' })],
    ['our client is refused (401 invalid_client)', json(401, { error: 'invalid_client' })],
    ['the request is refused (400 invalid_request)', json(400, { error: 'invalid_request' })],
    ['something in between says 400', status(400)],
    ['something in between says 403', status(403)],
    ['a 503 that quotes invalid_grant', json(503, { error: 'invalid_grant' })],
  ])('leaves the link and the pair: %s', async (_what, fault) => {
    const owner = await expiring();
    await world.ring.setFaults([once('token', fault)]);

    expect(await viewStatus(owner)).toBe(502);

    expect(await tokenOf(world, owner.ringUser)).toMatchObject({ status: 'CLAIMED', generation: 0 });
    expect(await linksOf(world, owner.ringUser)).toMatchObject([{ status: 'COMPLETED' }]);
    world.clock.advance(MINUTE);
    expect(await viewStatus(owner)).toBe(201);
    await expectWhole(owner, 1);
  });
});

/** The time to which a device that is fetched now is true: Ring's clock may be 5 s behind ours. */
const askedNow = (): Date => new Date(world.clock.now().getTime() - 5_000);

describe('a no to the refresh', () => {
  const noAddress = json(404, { error: 'invalid_request' });

  test('is not taken for a no to the call: a device is not removed, and asked about later', async () => {
    const owner = await expiring();
    await world.ring.setFaults([once('token', noAddress)]);

    const job = { accountId: owner.ringUser.account_id, deviceId: owner.device.id, attempt: 1 };
    await world.sql(`SELECT graphile_worker.add_job('fetch_device', $1::json)`, [
      JSON.stringify({ ...job, occurredAt: world.clock.now() }),
    ]);
    await until('the refresh is refused', async () => (await refreshesOf(world, owner.ringUser)).length === 1);
    world.clock.advance(MINUTE);
    await untilJobsAreDone(world, 'fetch_device');

    expect(await world.sql('SELECT removed_at, fetched_at FROM devices WHERE id = $1', [owner.device.id])).toEqual([
      { removed_at: null, fetched_at: askedNow() },
    ]);
    await expectWhole(owner, 1);
  });

  test.each([
    ['404', noAddress],
    ['401 invalid_client', json(401, { error: 'invalid_client' })],
  ])('is not taken for a no to a link that is being confirmed: %s', async (_what, fault) => {
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser, await signedIn(world));
    await world.ring.setFaults([once('integration-post', status(401)), once('token', fault)]);
    await visitor.submit('/ring/link');
    await until('the refresh is refused', async () => (await refreshesOf(world, ringUser)).length === 1);

    world.clock.advance(MINUTE);
    await untilJobsAreDone(world, 'confirm_link');

    expect(await linksOf(world, ringUser)).toMatchObject([{ status: 'COMPLETED' }]);
  });
});

test('an answer without a refresh token brings a new access token, and the old refresh token stays good', async () => {
  const owner = await expiring();
  const before = await tokenOf(world, owner.ringUser);
  await world.ring.setSettings({ refreshAnswer: 'without-refresh-token' });

  expect(await viewStatus(owner)).toBe(201);

  const after = await tokenOf(world, owner.ringUser);
  expect(after).toMatchObject({ status: 'CLAIMED', generation: 1, refresh_state: 'FINE' });
  expect(after.access_token_ciphertext).not.toEqual(before.access_token_ciphertext);

  // Ring takes the token that it did not replace, and gives a whole pair for it.
  await world.ring.setSettings({ refreshAnswer: 'new-pair' });
  world.clock.advance(ACCESS_LIFETIME);
  expect(await viewStatus(owner)).toBe(201);
  await expectWhole(owner, 2);
});

describe('Ring that can’t refresh just now', () => {
  const TROUBLES: [what: string, fault: Fault['fault'], state: string][] = [
    ['answers 500', status(500), 'UNCERTAIN'],
    ['answers 503', status(503), 'UNCERTAIN'],
    ['answers 429', status(429), 'FAILING'],
    ['hangs up', { kind: 'reset' }, 'UNCERTAIN'],
    ['says nothing', { kind: 'silence' }, 'UNCERTAIN'],
    ...WRONG_BODIES.map(([what, fault]): [string, Fault['fault'], string] => [
      `answers 200 with ${what}`,
      fault,
      'UNCERTAIN',
    ]),
  ];

  test.each(TROUBLES)(
    'and %s: the access token is used while it holds, and the pair is kept',
    async (_what, fault, state) => {
      const owner = await nearlyExpiring();
      const before = await tokenOf(world, owner.ringUser);
      await world.ring.setFaults([once('token', fault)]);

      expect(await viewStatus(owner)).toBe(201);

      const after = await until('no caller waits for Ring any more', async () => {
        const token = await tokenOf(world, owner.ringUser);
        return token.refresh_state !== 'REFRESHING' && token;
      });
      expect(after).toMatchObject({
        status: 'CLAIMED',
        generation: 0,
        refresh_state: state,
        refresh_failures: 1,
        refresh_token_ciphertext: before.refresh_token_ciphertext,
        access_token_ciphertext: before.access_token_ciphertext,
      });
      expect(after.refresh_error).toMatch(/^(unavailable|rate-limited|no-answer|malformed)( \d{3})?$/);
      expect(world.log.some((line) => line.includes(after.id) && line.includes('is not refreshed'))).toBe(true);

      world.clock.advance(1);
      expect(await viewStatus(owner)).toBe(201);
      await expectWhole(owner, 1);
    },
  );

  test('is asked again after pauses that grow, and not in between', async () => {
    const owner = await expiring();
    await world.ring.setFaults([{ endpoint: 'token', fault: status(503) }]);
    const pauses: number[] = [];

    for (let attempt = 1; attempt <= 6; attempt++) {
      const answer = await view(owner, urls[attempt % 2 === 0 ? 0 : 1]);
      expect(answer.status).toBe(502);
      const { refresh_after } = await tokenOf(world, owner.ringUser);
      const pause = ((refresh_after?.getTime() ?? 0) - world.clock.now().getTime()) / 1_000;
      pauses.push(pause);
      world.clock.advance(pause - 0.01);
      const early = await view(owner, urls[attempt % 2]);
      expect(early.status).toBe(502);
      expect(early.headers.get('retry-after')).toBe('1');
      expect(await refreshesOf(world, owner.ringUser)).toHaveLength(attempt);
      world.clock.advance(0.01);
    }

    expect(pauses).toEqual([1, 2, 4, 8, 16, 32]);
    await world.ring.setFaults([]);
    expect(await viewStatus(owner)).toBe(201);
    await expectWhole(owner, 1);
  });

  test('is left alone for as long as it says, by all instances', async () => {
    const owner = await expiring();
    await world.ring.setFaults([once('token', status(429, { retryAfterSeconds: 120 }))]);

    expect(await viewStatus(owner)).toBe(502);
    world.clock.advance(119);
    for (const url of urls) expect(await viewStatus(owner, url)).toBe(502);
    expect(await statusesOf(refreshesOf(world, owner.ringUser))).toEqual([429]);

    world.clock.advance(1);
    expect(await viewStatus(owner)).toBe(201);
    await expectWhole(owner, 1);
  });

  test.each<[what: string, fault: Fault['fault']]>([
    ['too many requests', status(429, { retryAfterSeconds: 120 })],
    ['an error', status(503)],
  ])('is asked once by many on two instances, and not once for each that waits: %s', async (_what, fault) => {
    const owner = await expiring();
    await world.ring.setFaults([{ endpoint: 'token', fault }]);
    const lock = await lockRow(owner);

    const statuses = Promise.all(
      Array.from({ length: 10 }, (_, index) => viewStatus(owner, urls[index % 2 === 0 ? 0 : 1])),
    );
    await untilWaiting(2);
    await lock.release();

    expect(new Set(await statuses)).toEqual(new Set([502]));
    expect(await refreshesOf(world, owner.ringUser)).toHaveLength(1);
  });
});

/** Locks the row of the owner's pair, as a slow transaction would. */
async function lockRow(owner: Owner): Promise<{ release(): Promise<void> }> {
  const { id } = await tokenOf(world, owner.ringUser);
  const client = new pg.Client({ connectionString: world.databaseUrl });
  await client.connect();
  await client.query('BEGIN');
  await client.query('SELECT 1 FROM ring_tokens WHERE id = $1 FOR UPDATE', [id]);
  return {
    async release() {
      await client.query('ROLLBACK');
      await client.end();
    },
  };
}

/** Waits until so many statements wait for a lock. */
async function untilWaiting(count: number): Promise<void> {
  await until(`${count} statements wait for a lock`, async () => {
    const waiting = await world.sql(
      `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    return waiting.length >= count;
  });
}

describe('an answer that is lost after Ring has replaced the token', () => {
  test.each<[what: string, fault: Fault['fault']]>([
    ['the connection breaks', { kind: 'reset' }],
    ['nothing comes', { kind: 'silence' }],
    ...WRONG_BODIES,
  ])('is not taken for a success: %s', async (_what, fault) => {
    const owner = await expiring();
    await world.ring.setFaults([once('token', fault, 'after')]);

    expect(await viewStatus(owner)).toBe(502);

    expect(await tokenOf(world, owner.ringUser)).toMatchObject({
      status: 'CLAIMED',
      generation: 0,
      refresh_state: 'UNCERTAIN',
    });
    expect(await linksOf(world, owner.ringUser)).toMatchObject([{ status: 'COMPLETED' }]);
    world.clock.advance(1);
    expect(await viewStatus(owner)).toBe(404);
    expect(await linksOf(world, owner.ringUser)).toMatchObject([{ status: 'REAUTH_REQUIRED' }]);
    expect(isErased(await tokenOf(world, owner.ringUser))).toBe(true);
  });
});

describe('an answer that can’t be written', () => {
  async function refuseWrites(): Promise<void> {
    await world.sql(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
                     AS $$ BEGIN RAISE EXCEPTION 'no room left on this device'; END $$`);
    await world.sql(`CREATE TRIGGER refuse BEFORE UPDATE ON ring_tokens FOR EACH ROW
                     WHEN (NEW.generation <> OLD.generation) EXECUTE FUNCTION refuse()`);
  }
  const allowWrites = () => world.sql('DROP FUNCTION IF EXISTS refuse CASCADE');
  afterEach(allowWrites);

  const untilRefused = (owner: Owner, times: number) =>
    until(`the write is refused ${times} times`, async () => {
      const { id } = await tokenOf(world, owner.ringUser);
      return world.log.filter((line) => line.includes(id) && line.includes('is not stored')).length >= times;
    });

  test('is written again until it is, and Ring is not asked again', async () => {
    const owner = await expiring();
    await refuseWrites();

    const waiting = Promise.all([viewStatus(owner), viewStatus(owner), viewStatus(owner, urls[1])]);
    await untilRefused(owner, 3);
    expect(await tokenOf(world, owner.ringUser)).toMatchObject({ generation: 0, refresh_state: 'REFRESHING' });
    await allowWrites();

    expect(await waiting).toEqual([201, 201, 201]);
    expect(await refreshesOf(world, owner.ringUser)).toHaveLength(1);
    await expectWhole(owner, 1);
    await expectRefreshable(owner);
  });

  test('because the row is locked is written once it is free', async () => {
    const owner = await expiring();
    await world.ring.setFaults([once('token', { kind: 'hold' }, 'after')]);
    const waiting = viewStatus(owner);
    await until('Ring is asked', async () => (await refreshesOf(world, owner.ringUser)).length === 1);
    const lock = await lockRow(owner);
    await world.ring.release();
    await untilWaiting(1);
    await lock.release();

    expect(await waiting).toBe(201);
    expect(await refreshesOf(world, owner.ringUser)).toHaveLength(1);
    await expectRefreshable(owner);
  });

  /**
   * Ring has answered one instance, which can't store the answer. The other one asks with the token that Ring has
   * replaced.
   */
  async function takenForDead(owner: Owner): Promise<{ waiting: Promise<number> }> {
    await refuseWrites();
    const waiting = viewStatus(owner);
    await untilRefused(owner, 1);
    await world.sql(`UPDATE ring_tokens SET refresh_started_at = now() - interval '1 minute' WHERE account_id = $1`, [
      owner.ringUser.account_id,
    ]);
    expect(await viewStatus(owner, urls[1])).toBe(404);
    expect(await linksOf(world, owner.ringUser)).toMatchObject([{ status: 'REAUTH_REQUIRED' }]);
    return { waiting };
  }

  test('for so long that its process is taken for dead makes the link whole as soon as it is written', async () => {
    const owner = await expiring();
    const { waiting } = await takenForDead(owner);
    const before = (await inventoriesOf(owner)).length;
    const readBefore = (await historiesOf(owner)).length;
    await allowWrites();

    expect(await waiting).toBe(201);
    await expectWhole(owner, 1);
    await until('what may have changed meanwhile is fetched', async () => (await inventoriesOf(owner)).length > before);
    await until('what happened is read', async () => (await historiesOf(owner)).length > readBefore);
    await expectRefreshable(owner);
  });

  test('for so long, of a link that Ring had not confirmed yet, leaves it to its user', async () => {
    const owner = await expiring();
    const { waiting } = await takenForDead(owner);
    await world.sql('UPDATE account_links SET completed_at = NULL WHERE account_id = $1', [owner.ringUser.account_id]);
    await allowWrites();

    expect(await waiting).toBe(404);
    expect(await linksOf(world, owner.ringUser)).toMatchObject([{ status: 'REAUTH_REQUIRED' }]);
    expect(isErased(await tokenOf(world, owner.ringUser))).toBe(true);
  });

  const historiesOf = async ({ ringUser }: Owner) =>
    (await apiCallsOf(world, ringUser)).filter(({ path }) => path.startsWith('/v1/history/'));
  const inventoriesOf = async ({ ringUser }: Owner) =>
    (await apiCallsOf(world, ringUser)).filter(({ path }) => path.startsWith('/v1/devices'));
});

describe('a removal while a refresh is under way', () => {
  const removal = (owner: Owner, wait = true) =>
    world.ring.sendEvent({ user_id: owner.ringUser.id, type: 'app_integration_removed', effect: false, wait });

  async function expectErased(owner: Owner): Promise<void> {
    expect(await linksOf(world, owner.ringUser)).toMatchObject([{ status: 'REMOVED' }]);
    const token = await tokenOf(world, owner.ringUser);
    expect(token).toMatchObject({ status: 'REVOKED' });
    expect(isErased(token)).toBe(true);
  }

  test('erases the pair, and the answer of Ring does not bring it back', async () => {
    const owner = await expiring();
    await world.ring.setFaults([once('token', { kind: 'hold' }, 'after')]);
    const waiting = viewStatus(owner);
    await until('Ring is asked', async () => (await refreshesOf(world, owner.ringUser)).length === 1);

    await removal(owner);
    await untilLink(world, owner.ringUser, 'REMOVED');
    await world.ring.release();

    expect(await waiting).toBe(404);
    await expectErased(owner);
  });

  test('that is being committed while the answer is written erases the pair all the same', async () => {
    const owner = await expiring();
    await world.ring.setFaults([once('token', { kind: 'hold' }, 'after')]);
    const gate = new pg.Client({ connectionString: world.databaseUrl });
    await gate.connect();
    await gate.query('SELECT pg_advisory_lock(4711)');
    await world.sql(`CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql
                     AS $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NEW; END $$`);
    // The last statement of a removal, when it holds the rows of the link and of the pair.
    await world.sql(`CREATE TRIGGER gate BEFORE UPDATE ON webhook_events FOR EACH ROW
                     WHEN (NEW.type = 'app_integration_removed') EXECUTE FUNCTION wait_at_gate()`);
    try {
      const waiting = viewStatus(owner);
      await until('Ring is asked', async () => (await refreshesOf(world, owner.ringUser)).length === 1);
      await removal(owner);
      // The removal waits at the gate, and the answer waits for the removal.
      await untilWaiting(1);
      await world.ring.release();
      await untilWaiting(2);
      await gate.query('SELECT pg_advisory_unlock(4711)');

      expect(await waiting).toBe(404);
      await untilLink(world, owner.ringUser, 'REMOVED');
      await expectErased(owner);
    } finally {
      await gate.end();
      await world.sql('DROP FUNCTION wait_at_gate CASCADE');
    }
  });
});

describe('the log of all this', () => {
  test('holds no token', () => {
    expect(world.log.length).toBeGreaterThan(100);
    expect(world.log.join('\n')).not.toMatch(/sim-(at|rt)-/);
  });
});
