import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Owner, sharing } from '../support/features/devices.js';
import { holdAccount, inboxOf, untilProcessed } from '../support/features/inbox.js';
import { openLiveView } from '../support/features/live-views.js';
import { holdLock, untilLocksAwaited } from '../support/waiting/locks.js';
import { startWorld, type World } from '../support/worlds/world.js';

/**
 * A transaction that needs a link and its device locks them in this order, so that two that need both never deadlock.
 */

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

/** Sends events that are applied in one transaction, which reads the device first. */
async function sendBatch({ ringUser, device }: Owner): Promise<void> {
  const release = await holdAccount(world, ringUser);
  for (const type of ['device_online', 'app_integration_added']) {
    await world.ring.sendEvent({ user_id: ringUser.id, type, device_id: device.id });
  }
  await release();
}

async function expectBothDone({ ringUser }: Owner, opening: ReturnType<typeof openLiveView>): Promise<void> {
  expect((await opening).status).toBe(201);
  await untilProcessed(world, ringUser);
  expect(await inboxOf(world, ringUser)).toMatchObject([
    { status: 'PROCESSED', attempts: 0 },
    { status: 'PROCESSED', attempts: 0 },
  ]);
  expect(world.log.filter((line) => line.includes('deadlock'))).toEqual([]);
}

test('a live view that begins while events of its device and its link are applied waits for them', async () => {
  const owner = await sharing(world);
  const release = await holdLock(world, 'LOCK TABLE device_events IN SHARE MODE');
  await sendBatch(owner);
  // The first event is half applied: the device is changed, but the event is not recorded yet.
  await untilLocksAwaited(world, 1);
  const opening = openLiveView(world.url, owner);
  await untilLocksAwaited(world, 2);

  await release();

  await expectBothDone(owner, opening);
});

test('events of a device and its link that come while a live view begins wait for it', async () => {
  const owner = await sharing(world);
  const release = await holdLock(world, 'SELECT 1 FROM devices WHERE account_id = $1 FOR UPDATE', [
    owner.ringUser.account_id,
  ]);
  const opening = openLiveView(world.url, owner);
  await untilLocksAwaited(world, 1);
  await sendBatch(owner);
  await untilLocksAwaited(world, 2);

  await release();

  await expectBothDone(owner, opening);
});
