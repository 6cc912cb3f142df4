import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Visitor } from '../support/clients/visitor.js';
import { holdAccount, inboxOf, isNothingLeft, untilIdle, untilProcessed } from '../support/features/inbox.js';
import { installed, isErased, linked, linksOf, pairsOf } from '../support/features/linking.js';
import { until } from '../support/waiting/until.js';
import type { EventWish, RingUser } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterEach(() => world.ring.setFaults([]));
afterAll(() => world.stop());

const FRONT_DOOR = {
  name: 'Front Door',
  online: true,
  location: { country: 'US', state: 'WA' },
  configurations: {
    motion_detection: {
      enabled: 'on',
      motion_zones: [
        {
          id: 'a0a0a0a0-0000-4000-8000-000000000001',
          vertices: [
            { x: 0, y: 0 },
            { x: 1, y: 0.5 },
            { x: 0.25, y: 1 },
          ],
        },
      ],
    },
  },
};
const GARDEN = { name: 'Back Garden', online: true };

interface Household {
  ringUser: RingUser;
  visitor: Visitor;
  /** Ring's IDs of the front door and the garden. */
  door: string;
  garden: string;
}

let households = 0;

/** A Ring user with two devices; nothing is linked yet. */
async function newRingUser(): Promise<{ ringUser: RingUser; door: string; garden: string }> {
  const [door, garden] = [`door-${++households}`, `garden-${households}`];
  const devices = [
    { id: door, ...FRONT_DOOR },
    { id: garden, ...GARDEN },
  ];
  return { ringUser: await world.ring.createUser({ devices }), door, garden };
}

/** The same user after linking, with the devices fetched. */
async function newHousehold(): Promise<Household> {
  const { ringUser, door, garden } = await newRingUser();
  const { visitor } = await linked(world, ringUser);
  await untilIdle(world);
  return { ringUser, visitor, door, garden };
}

/** Ring sends the event. Waits until it is applied with all that follows. */
async function tell(ringUser: RingUser, event: Omit<EventWish, 'user_id'>): Promise<string> {
  const { request_id, attempts } = await world.ring.sendEvent({ user_id: ringUser.id, ...event });
  expect(attempts).toMatchObject([{ status: 200 }]);
  await untilProcessed(world, ringUser);
  return request_id;
}

async function deviceOf({ account_id }: RingUser, deviceId: string) {
  const [device] = await world.sql<Record<string, unknown>>('SELECT * FROM devices WHERE account_id = $1 AND id = $2', [
    account_id,
    deviceId,
  ]);
  return device;
}

function eventsOf({ account_id }: RingUser): Promise<Record<string, unknown>[]> {
  return world.sql('SELECT * FROM device_events WHERE account_id = $1 ORDER BY occurred_at, type', [account_id]);
}

function archiveOf({ account_id }: RingUser): Promise<Record<string, unknown>[]> {
  return world.sql('SELECT * FROM audit_archive WHERE account_id = $1 ORDER BY archived_at', [account_id]);
}

const secondsAgo = (seconds: number): number => world.clock.now().getTime() - seconds * 1_000;

describe('a completed link', () => {
  test('brings the devices with name, status, capabilities, configuration and location', async () => {
    const { ringUser, door, garden } = await newHousehold();

    expect(await deviceOf(ringUser, door)).toMatchObject({
      name: 'Front Door',
      online: true,
      location: FRONT_DOOR.location,
      configurations: FRONT_DOOR.configurations,
      capabilities: { video: {} },
      fetch_error: null,
      removed_at: null,
    });
    expect(await deviceOf(ringUser, garden)).toMatchObject({ name: 'Back Garden' });
    const asked = (await world.ring.requests()).filter((one) => one.account_id === ringUser.account_id);
    expect(asked.filter(({ path }) => path === '/v1/devices')).toHaveLength(1);
  });
});

describe('motion_detected', () => {
  test.each([
    ['motion', 'data'],
    ['human', 'data'],
    ['vehicle', 'attributes'],
    ['other_motion', 'attributes'],
  ] as const)('of class %s, which stands in %s, is recorded', async (subtype, place) => {
    const { ringUser, door } = await newHousehold();

    const requestId = await tell(ringUser, {
      type: 'motion_detected',
      device_id: door,
      sub_type: subtype,
      sub_type_in: place,
      timestamp: secondsAgo(7),
    });

    expect(await eventsOf(ringUser)).toMatchObject([
      {
        request_id: requestId,
        device_id: door,
        type: 'motion_detected',
        subtype,
        occurred_at: new Date(secondsAgo(7)),
      },
    ]);
  });

  test('is not filtered by zone, and not told twice', async () => {
    const { ringUser, door } = await newHousehold();

    await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected', device_id: door, deliver: 'twice' });
    await untilProcessed(world, ringUser);

    expect(await eventsOf(ringUser)).toHaveLength(1);
  });
});

describe('button_press', () => {
  test('is recorded, without a class', async () => {
    const { ringUser, door } = await newHousehold();

    await tell(ringUser, { type: 'button_press', device_id: door });

    expect(await eventsOf(ringUser)).toMatchObject([{ type: 'button_press', device_id: door, subtype: null }]);
  });
});

describe('device_added', () => {
  test('fetches the device with all four includes', async () => {
    const { ringUser, garden } = await newHousehold();
    await tell(ringUser, { type: 'device_removed', device_id: garden, timestamp: secondsAgo(10) });

    await tell(ringUser, { type: 'device_added', device_id: garden });

    expect(await deviceOf(ringUser, garden)).toMatchObject({ name: 'Back Garden', online: true, removed_at: null });
  });

  test('of a device that Ring no longer has when we ask means that it is removed', async () => {
    const { ringUser } = await newHousehold();

    await tell(ringUser, { type: 'device_added', device_id: 'never-there', effect: false });

    expect(await deviceOf(ringUser, 'never-there')).toMatchObject({ name: null, added_at: null });
    expect((await deviceOf(ringUser, 'never-there'))?.removed_at).toBeInstanceOf(Date);
    expect(await archiveOf(ringUser)).toMatchObject([{ device_id: 'never-there', reason: 'not found at Ring' }]);
  });

  test('before the user has signed in waits, and is applied when the link is made', async () => {
    const { ringUser, door } = await newRingUser();
    await installed(world, ringUser);
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'device_added', device_id: door });
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected', device_id: door });
    await untilIdle(world);
    expect(await inboxOf(world, ringUser)).toMatchObject([{ status: 'PENDING' }, { status: 'PENDING' }]);
    expect(await deviceOf(ringUser, door)).toBeUndefined();

    await linkInstalled(ringUser);
    await untilProcessed(world, ringUser);

    expect(await inboxOf(world, ringUser)).toMatchObject([{ status: 'PROCESSED' }, { status: 'PROCESSED' }]);
    expect(await deviceOf(ringUser, door)).toMatchObject({ name: 'Front Door' });
    expect((await eventsOf(ringUser)).map(({ type }) => type).sort()).toEqual(['device_added', 'motion_detected']);
  });

  test('of an account that is not known yet waits too', async () => {
    const { ringUser, door } = await newRingUser();
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'device_added', device_id: door });
    await untilIdle(world);

    await linked(world, ringUser);
    await untilProcessed(world, ringUser);

    expect(await inboxOf(world, ringUser)).toMatchObject([{ status: 'PROCESSED' }]);
    expect(await deviceOf(ringUser, door)).toMatchObject({ name: 'Front Door' });
  });

  test('is applied although Ring is away, and the device fetched when it is back', async () => {
    const { ringUser, garden } = await newHousehold();
    await tell(ringUser, { type: 'device_removed', device_id: garden, timestamp: secondsAgo(10) });
    await world.ring.setFaults([{ endpoint: 'device', fault: { kind: 'status', status: 503 }, times: 1 }]);

    await tell(ringUser, { type: 'device_added', device_id: garden });
    expect(await deviceOf(ringUser, garden)).toMatchObject({
      fetched_at: null,
      fetch_error: expect.stringMatching(/^unavailable 503/) as unknown,
    });
    await untilNoJobs();

    expect(await deviceOf(ringUser, garden)).toMatchObject({ online: true, fetch_error: null });
  });
});

describe('device_offline and device_online', () => {
  test('set the status, and the newer timestamp counts, whatever arrives last', async () => {
    const { ringUser, door } = await newHousehold();
    world.clock.advance(60);

    await tell(ringUser, { type: 'device_offline', device_id: door, timestamp: secondsAgo(20) });
    expect(await deviceOf(ringUser, door)).toMatchObject({ online: false, online_at: new Date(secondsAgo(20)) });

    await tell(ringUser, { type: 'device_online', device_id: door, timestamp: secondsAgo(30) });
    expect(await deviceOf(ringUser, door)).toMatchObject({ online: false });

    await tell(ringUser, { type: 'device_online', device_id: door, timestamp: secondsAgo(10) });
    expect(await deviceOf(ringUser, door)).toMatchObject({ online: true, online_at: new Date(secondsAgo(10)) });
  });

  test('delivered in the wrong order end in the right state', async () => {
    const { ringUser, door } = await newHousehold();
    world.clock.advance(60);

    await world.ring.sendEvents(
      [
        { user_id: ringUser.id, type: 'device_offline', device_id: door },
        { user_id: ringUser.id, type: 'device_online', device_id: door },
      ],
      'reversed',
    );
    await untilProcessed(world, ringUser);

    expect(await deviceOf(ringUser, door)).toMatchObject({ online: true });
  });

  test('of a device that we do not know makes us ask for it', async () => {
    const { ringUser, door } = await newHousehold();
    await world.sql('DELETE FROM devices WHERE account_id = $1 AND id = $2', [ringUser.account_id, door]);

    await tell(ringUser, { type: 'device_offline', device_id: door });

    expect(await deviceOf(ringUser, door)).toMatchObject({ name: 'Front Door', online: false });
  });
});

describe('app_integration_added', () => {
  test.each(['users', 'accounts'])('of source type %s marks the link as confirmed by Ring', async (source_type) => {
    const { ringUser } = await newHousehold();
    expect(await linksOf(world, ringUser)).toMatchObject([{ ring_confirmed_at: null }]);

    await tell(ringUser, { type: 'app_integration_added', source_type });

    expect(await linksOf(world, ringUser)).toMatchObject([
      { status: 'COMPLETED', ring_confirmed_at: world.clock.now() },
    ]);
  });
});

describe('subscription_activated and subscription_deactivated', () => {
  test("store Ring's answer, which is the truth", async () => {
    const { ringUser, door } = await newHousehold();
    const subscription_id = `subscription-${door}`;

    await tell(ringUser, {
      type: 'subscription_activated',
      subscription_id,
      sub_type: 'paid',
      plan_id: 'plan-gold',
      device_ids: [door],
    });
    const stored = () => world.sql('SELECT * FROM subscriptions WHERE account_id = $1', [ringUser.account_id]);
    expect(await stored()).toMatchObject([
      { id: subscription_id, sub_type: 'paid', plan_id: 'plan-gold', status: 'active', device_ids: [door] },
    ]);

    await tell(ringUser, { type: 'subscription_deactivated', subscription_id, sub_type: 'paid', plan_id: 'plan-gold' });
    expect(await stored()).toMatchObject([{ id: subscription_id, status: 'inactive' }]);
  });
});

describe('device_removed', () => {
  test('archives once, erases the rest, and tells the user', async () => {
    const { ringUser, visitor, door, garden } = await newHousehold();
    await tell(ringUser, { type: 'motion_detected', device_id: door, sub_type: 'human' });
    await tell(ringUser, { type: 'button_press', device_id: door });
    await tell(ringUser, { type: 'motion_detected', device_id: garden });
    world.clock.advance(5);

    const requestId = await tell(ringUser, { type: 'device_removed', device_id: door });

    expect(await archiveOf(ringUser)).toMatchObject([
      {
        kind: 'DEVICE_REMOVED',
        device_id: door,
        reason: 'device_removed',
        request_id: requestId,
        occurred_at: world.clock.now(),
        devices: [{ id: door, name: 'Front Door', online: true, location: FRONT_DOOR.location }],
        counts: { motion_detected: 1, button_press: 1, snapshots: 0, live_views: 0 },
      },
    ]);
    expect(await deviceOf(ringUser, door)).toMatchObject({
      name: 'Front Door',
      removed_at: world.clock.now(),
      online: null,
      capabilities: null,
      configurations: null,
      location: null,
    });
    expect(await eventsOf(ringUser)).toMatchObject([{ device_id: garden }]);
    const bodies = (await inboxOf(world, ringUser)).filter(({ body }) => body?.includes(door) === true);
    expect(bodies).toEqual([]);
    await visitor.open('/ring/home');
    expect(visitor.page.text).toMatch(/Front Door[\s\S]*Removed[\s\S]*<time/);
  });

  test('that is applied together with earlier events erases their effects too', async () => {
    const { ringUser, door } = await newHousehold();
    const release = await holdAccount(world, ringUser);
    for (const type of ['motion_detected', 'device_offline', 'device_removed']) {
      await world.ring.sendEvent({ user_id: ringUser.id, type, device_id: door });
    }
    await release();
    await untilProcessed(world, ringUser);

    expect((await deviceOf(ringUser, door))?.removed_at).toBeInstanceOf(Date);
    expect(await eventsOf(ringUser)).toEqual([]);
    expect((await inboxOf(world, ringUser)).filter(({ body }) => body !== null)).toEqual([]);
    expect(await archiveOf(ringUser)).toMatchObject([{ counts: { motion_detected: 1, device_offline: 1 } }]);
  });

  test('that comes again, or late, changes nothing more', async () => {
    const { ringUser, door } = await newHousehold();
    world.clock.advance(100);
    await tell(ringUser, { type: 'device_removed', device_id: door, timestamp: secondsAgo(50) });
    await tell(ringUser, { type: 'device_removed', device_id: door, timestamp: secondsAgo(40) });
    expect(await archiveOf(ringUser)).toHaveLength(1);

    await tell(ringUser, { type: 'device_added', device_id: door, timestamp: secondsAgo(30) });
    await tell(ringUser, { type: 'device_removed', device_id: door, timestamp: secondsAgo(35), effect: false });

    expect(await deviceOf(ringUser, door)).toMatchObject({ name: 'Front Door', online: true, removed_at: null });
    expect(await archiveOf(ringUser)).toHaveLength(1);
  });

  test('is not undone by an earlier event that arrives later', async () => {
    const { ringUser, door } = await newHousehold();
    world.clock.advance(100);
    await tell(ringUser, { type: 'device_removed', device_id: door, timestamp: secondsAgo(50) });

    for (const type of ['device_added', 'device_online', 'motion_detected']) {
      await tell(ringUser, { type, device_id: door, timestamp: secondsAgo(60), effect: false });
    }

    expect((await deviceOf(ringUser, door))?.removed_at).toEqual(new Date(secondsAgo(50)));
    expect(await eventsOf(ringUser)).toEqual([]);
  });
});

describe('app_integration_removed', () => {
  test('ends the link, erases its tokens and devices, archives once, and makes no call', async () => {
    const { ringUser, visitor, door } = await newHousehold();
    await tell(ringUser, { type: 'motion_detected', device_id: door });
    const before = (await world.ring.requests()).length;
    world.clock.advance(5);

    const requestId = await tell(ringUser, { type: 'app_integration_removed' });

    expect((await world.ring.requests()).slice(before)).toEqual([]);
    expect(await linksOf(world, ringUser)).toMatchObject([{ status: 'REMOVED', removed_at: world.clock.now() }]);
    const [pair] = await pairsOf(world, ringUser);
    expect(pair?.status).toBe('REVOKED');
    expect(isErased(pair)).toBe(true);
    expect(await world.sql('SELECT 1 FROM devices WHERE account_id = $1', [ringUser.account_id])).toEqual([]);
    expect(await eventsOf(ringUser)).toEqual([]);
    expect(await archiveOf(ringUser)).toMatchObject([
      {
        kind: 'LINK_REMOVED',
        device_id: null,
        reason: 'app_integration_removed',
        request_id: requestId,
        devices: [{ name: 'Front Door' }, { name: 'Back Garden' }],
        counts: { motion_detected: 1 },
      },
    ]);
    expect((await inboxOf(world, ringUser)).filter(({ body }) => body !== null)).toEqual([]);
    await visitor.open('/ring/home');
    expect(visitor.page.text).toContain('Ended');
  });

  test('lets its user sign in and link again', async () => {
    const { ringUser, visitor, door } = await newHousehold();
    await tell(ringUser, { type: 'app_integration_removed' });
    world.clock.advance(60);

    await installed(world, ringUser);
    const { url } = await world.ring.linkUrl(ringUser);
    await visitor.open(url);
    await visitor.submit('/ring/link');
    await untilIdle(world);

    expect(visitor.heading).toBe('Your Ring account is linked');
    expect((await linksOf(world, ringUser)).map(({ status }) => status).sort()).toEqual(['COMPLETED', 'REMOVED']);
    expect(await deviceOf(ringUser, door)).toMatchObject({ name: 'Front Door' });
  });

  test('that is late does not end the link that was made since', async () => {
    const { ringUser, visitor } = await newHousehold();
    world.clock.advance(600);
    await installed(world, ringUser);
    const { url } = await world.ring.linkUrl(ringUser);
    await visitor.open(url);
    await visitor.submit('/ring/link');
    await untilIdle(world);

    await tell(ringUser, { type: 'app_integration_removed', timestamp: secondsAgo(60), effect: false });

    expect(await linksOf(world, ringUser)).toMatchObject([{ status: 'COMPLETED' }]);
    expect(await archiveOf(ringUser)).toEqual([]);
  });

  test('before the user has signed in takes the pair out of the pool', async () => {
    const { ringUser } = await newRingUser();
    await installed(world, ringUser);
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'device_added' });
    world.clock.advance(1);

    await tell(ringUser, { type: 'app_integration_removed' });

    const [pair] = await pairsOf(world, ringUser);
    expect(pair?.status).toBe('REVOKED');
    expect(isErased(pair)).toBe(true);
    expect((await inboxOf(world, ringUser)).map(({ status }) => status)).toEqual(['PROCESSED', 'PROCESSED']);
  });
});

/** The user of an installed app signs up with us. */
async function linkInstalled(ringUser: RingUser): Promise<void> {
  const { url } = await world.ring.linkUrl(ringUser);
  const visitor = world.visitor();
  await visitor.open(url);
  await visitor.submit('/sign-up', {
    email: `someone.${ringUser.id}@example.com`,
    password: 'correct horse battery staple',
  });
}

/** Waits until nothing is to be done any more, not even after a pause. */
async function untilNoJobs(): Promise<void> {
  await until('no job is left', () => isNothingLeft(world));
}
