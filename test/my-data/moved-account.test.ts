import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { sharing } from '../support/devices.js';
import { untilIdle, untilProcessed } from '../support/inbox.js';
import { arriving, installed, signedIn, untilLink } from '../support/linking.js';
import { deleteAccount, newResident } from '../support/my-data.js';
import type { RingUser } from '../support/ring.js';
import type { Visitor } from '../support/visitor.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ patienceMs: 100 });
});
afterAll(() => world.stop());

/** Somebody else installs the app for this Ring account and links it. */
async function linkedByNext(ringUser: RingUser): Promise<Visitor> {
  world.clock.advance(60);
  const next = await signedIn(world);
  await arriving(world, await installed(world, ringUser), next);
  await next.submit('/ring/link');
  await untilLink(world, ringUser, 'COMPLETED');
  await untilIdle(world);
  return next;
}

async function removeInRingApp(ringUser: RingUser): Promise<void> {
  world.clock.advance(1);
  await world.ring.sendEvent({ user_id: ringUser.id, type: 'app_integration_removed' });
  await untilProcessed(world, ringUser);
}

async function inboxInDownload(visitor: Visitor): Promise<unknown[]> {
  const { text } = await visitor.open('/account/data');
  return (JSON.parse(text) as { webhook_events: unknown[] }).webhook_events;
}

const motionsOf = ({ account_id }: RingUser) =>
  world.sql(`SELECT occurred_at FROM device_events WHERE account_id = $1 AND type = 'motion_detected'`, [account_id]);

describe('of a Ring account that is somebody else’s by now', () => {
  test('the inbox of the former user goes with the former user’s account, and not to the next one', async () => {
    const { visitor, ringUser } = await newResident(world);
    await removeInRingApp(ringUser);
    const next = await linkedByNext(ringUser);
    const before = await inboxInDownload(next);

    await deleteAccount(visitor);

    expect(await inboxInDownload(next)).toEqual(before);
  });

  test('a late event of the former user’s time stays void after the former user’s account is deleted', async () => {
    const { visitor, ringUser } = await sharing(world, { name: `Door ${randomUUID()}` });
    world.clock.advance(10);
    const then = world.clock.now().getTime();
    world.clock.advance(10);
    await removeInRingApp(ringUser);
    await linkedByNext(ringUser);
    await deleteAccount(visitor);

    await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected', timestamp: then });

    await untilProcessed(world, ringUser);
    expect(await motionsOf(ringUser)).toEqual([]);
  });

  test('what happened before it was installed anew is not shown, though Ring’s word of the removal was lost', async () => {
    const { visitor, ringUser } = await sharing(world, { name: `Door ${randomUUID()}` });
    await deleteAccount(visitor);
    world.clock.advance(10);
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected' });
    world.clock.advance(600);
    await world.ring.setSettings({ automaticWebhooks: false });
    await world.ring.removeApp(ringUser);
    await linkedByNext(ringUser);
    await world.ring.setSettings({ automaticWebhooks: true });

    await untilProcessed(world, ringUser);
    expect(await motionsOf(ringUser)).toEqual([]);
  });
});
