import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import { type Owner, sharing } from '../support/features/devices.js';
import { holdAccount, inboxOf, untilApplied, untilIdle, untilProcessed } from '../support/features/inbox.js';
import { installed, linked, linksOf, once, pairStatuses } from '../support/features/linking.js';
import { tracesOf } from '../support/inspection/traces.js';
import { until } from '../support/waiting/until.js';
import type { EventType, RingUser } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

/** Events carry the time when they happened, by Ring's clock. They come late and in any order, and clocks differ. */

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterEach(() => world.ring.setFaults([]));
afterAll(() => world.stop());

const FAR_FUTURE = Date.UTC(9999, 11, 31);

const fromNow = (seconds: number): number => world.clock.now().getTime() + seconds * 1_000;

/** A webhook that changes nothing at Ring, unless `effect` is true. */
interface Telling {
  at: number;
  effect?: boolean;
}

async function send(ringUser: RingUser, type: EventType, { at, effect = false }: Telling): Promise<void> {
  const [device] = ringUser.devices;
  const { attempts } = await world.ring.sendEvent({
    user_id: ringUser.id,
    type,
    device_id: device?.id ?? '',
    effect,
    timestamp: at,
  });
  expect(attempts).toMatchObject([{ status: 200 }]);
}

/** Like {@link send}, and waits until it is applied with all that follows. */
async function tell({ ringUser }: Pick<Owner, 'ringUser'>, type: EventType, telling: Telling): Promise<void> {
  await send(ringUser, type, telling);
  await untilProcessed(world, ringUser);
}

async function deviceOf({ account_id }: RingUser) {
  const [device] = await world.sql<Record<string, unknown>>('SELECT * FROM devices WHERE account_id = $1', [
    account_id,
  ]);
  return device;
}

async function eventsOf({ account_id }: RingUser): Promise<string[]> {
  const events = await world.sql<Pick<Tables['device_events'], 'type'>>(
    'SELECT type FROM device_events WHERE account_id = $1 ORDER BY occurred_at',
    [account_id],
  );
  return events.map(({ type }) => type);
}

function archiveOf({ account_id }: RingUser): Promise<Record<string, unknown>[]> {
  return world.sql('SELECT kind, reason FROM audit_archive WHERE account_id = $1', [account_id]);
}

describe('a removal of a device that comes an hour late', () => {
  test('makes us ask, and the device stays when Ring shares it', async () => {
    const owner = await sharing(world);

    await tell(owner, 'device_removed', { at: fromNow(-3_600) });

    expect(await deviceOf(owner.ringUser)).toMatchObject({ name: 'Front Door', online: true, removed_at: null });
    expect(await archiveOf(owner.ringUser)).toEqual([]);
  });

  test('makes us ask, and the device is removed when Ring has it no more', async () => {
    const owner = await sharing(world);

    await tell(owner, 'device_removed', { at: fromNow(-3_600), effect: true });

    expect((await deviceOf(owner.ringUser))?.removed_at).toBeInstanceOf(Date);
    expect(await archiveOf(owner.ringUser)).toEqual([{ kind: 'DEVICE_REMOVED', reason: 'not found at Ring' }]);
  });
});

describe('a device that tells something after its removal', () => {
  test('is there again when Ring shares it, though no event said that it was added', async () => {
    const owner = await sharing(world);
    await tell(owner, 'device_removed', { at: fromNow(0) });
    world.clock.advance(60);

    await tell(owner, 'motion_detected', { at: fromNow(0) });

    expect(await deviceOf(owner.ringUser)).toMatchObject({ name: 'Front Door', online: true, removed_at: null });
    expect(await eventsOf(owner.ringUser)).toEqual(['motion_detected']);
  });

  test('leaves nothing behind when Ring has it no more', async () => {
    const owner = await sharing(world);
    await tell(owner, 'device_removed', { at: fromNow(0), effect: true });
    world.clock.advance(60);

    await tell(owner, 'motion_detected', { at: fromNow(0) });

    expect((await deviceOf(owner.ringUser))?.removed_at).toBeInstanceOf(Date);
    expect(await eventsOf(owner.ringUser)).toEqual([]);
    expect(await archiveOf(owner.ringUser)).toHaveLength(1);
  });

  test('leaves nothing behind when it is removed once more', async () => {
    const owner = await sharing(world);
    await tell(owner, 'device_removed', { at: fromNow(1) });
    await tell(owner, 'motion_detected', { at: fromNow(2) });

    await tell(owner, 'device_removed', { at: fromNow(3) });

    expect(await deviceOf(owner.ringUser)).toMatchObject({ removed_at: new Date(fromNow(3)) });
    expect(await eventsOf(owner.ringUser)).toEqual([]);
    expect(await archiveOf(owner.ringUser)).toHaveLength(1);
  });
});

describe('an event of the very millisecond of the removal of the app, or before', () => {
  test('is void and erased, whether it comes with the removal or after it', async () => {
    const owner = await sharing(world);
    const { ringUser, device } = owner;
    const release = await holdAccount(world, ringUser);
    await send(ringUser, 'motion_detected', { at: fromNow(1) });
    await send(ringUser, 'app_integration_removed', { at: fromNow(1) });
    await release();
    await untilProcessed(world, ringUser);
    await tell(owner, 'motion_detected', { at: fromNow(-5) });

    const inbox = await inboxOf(world, ringUser);
    expect(inbox).toHaveLength(3);
    for (const row of inbox) expect(row).toMatchObject({ status: 'PROCESSED', body: null });
    expect(await eventsOf(ringUser)).toEqual([]);
    // The inbox still knows which device its events were about.
    expect(await tracesOf(world, device.id)).toEqual(['audit_archive', 'webhook_events']);
  });
});

describe('an event from the far future happens now', () => {
  test('device_online: a device goes offline after it', async () => {
    const owner = await sharing(world);
    await tell(owner, 'device_online', { at: FAR_FUTURE });

    await tell(owner, 'device_offline', { at: fromNow(1) });

    expect(await deviceOf(owner.ringUser)).toMatchObject({ online: false });
  });

  test('device_added: a device is removed after it', async () => {
    const owner = await sharing(world);
    await tell(owner, 'device_added', { at: FAR_FUTURE });

    await tell(owner, 'device_removed', { at: fromNow(1) });

    expect(await deviceOf(owner.ringUser)).toMatchObject({ removed_at: new Date(fromNow(1)) });
  });

  test('device_removed: a device is added after it', async () => {
    const owner = await sharing(world);
    await tell(owner, 'device_removed', { at: FAR_FUTURE });
    world.clock.advance(60);

    await tell(owner, 'device_added', { at: fromNow(0) });

    expect(await deviceOf(owner.ringUser)).toMatchObject({ removed_at: null, name: 'Front Door', online: true });
  });

  test('app_integration_added: it is now that Ring has confirmed the link', async () => {
    const owner = await sharing(world);

    await tell(owner, 'app_integration_added', { at: FAR_FUTURE });

    expect(await linksOf(world, owner.ringUser)).toMatchObject([{ ring_confirmed_at: world.clock.now() }]);
  });

  test('app_integration_removed: its user can add the app again', async () => {
    const owner = await sharing(world);
    const { ringUser } = owner;
    await tell(owner, 'app_integration_removed', { at: FAR_FUTURE });
    expect(await linksOf(world, ringUser)).toMatchObject([{ status: 'REMOVED', removed_at: world.clock.now() }]);
    world.clock.advance(60);

    await installed(world, ringUser);

    expect((await pairStatuses(world, ringUser)).sort()).toEqual(['REVOKED', 'UNCLAIMED']);
  });
});

describe('with a clock of ours that is 3 s ahead of Ring’s', () => {
  /** Waits until Ring has answered with the device in it, and the answer is on the way. */
  async function untilAsked({ account_id }: RingUser, path: string): Promise<void> {
    await until('Ring is asked', async () =>
      (await world.ring.requests()).some(
        (one) => one.account_id === account_id && one.path === path && one.effect_status === 200 && one.status === null,
      ),
    );
  }

  test('a device that is removed while all devices are asked for is not brought back by the answer', async () => {
    const ringUser = await world.ring.createUser({ devices: [{ name: 'Front Door' }] });
    await world.ring.setFaults([once('devices', { kind: 'hold' }, 'after')]);
    await linked(world, ringUser);
    await untilAsked(ringUser, '/v1/devices');

    await send(ringUser, 'device_removed', { at: fromNow(-3) });
    await untilApplied(world, ringUser);
    await world.ring.release();
    await untilIdle(world);

    expect(await deviceOf(ringUser)).toMatchObject({ removed_at: new Date(fromNow(-3)), capabilities: null });
  });

  test('a device that is removed while it is asked for is not brought back by the answer', async () => {
    const owner = await sharing(world);
    const { ringUser, device } = owner;
    world.clock.advance(60);
    await world.ring.setFaults([once('device', { kind: 'hold' }, 'after')]);
    await send(ringUser, 'device_added', { at: fromNow(-4) });
    await untilAsked(ringUser, `/v1/devices/${device.id}`);

    await send(ringUser, 'device_removed', { at: fromNow(-3) });
    await untilApplied(world, ringUser);
    await world.ring.release();
    await untilIdle(world);

    expect(await deviceOf(ringUser)).toMatchObject({ removed_at: new Date(fromNow(-3)), capabilities: null });
  });
});
