import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { type Tables } from '../../src/database/tables.js';
import { send } from '../support/clients/http.js';
import { type Owner, recordNow, sharing } from '../support/features/devices.js';
import { inboxOf, untilIdle, untilProcessed } from '../support/features/inbox.js';
import { arriving, installed, isErased, linked, linksOf, pairsOf, untilLink } from '../support/features/linking.js';
import { closeLiveView, openLiveView } from '../support/features/live-views.js';
import { tracesOf } from '../support/inspection/traces.js';
import { tick } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import { type RingUser } from '../support/worlds/ring.js';
import { type World, startWorld } from '../support/worlds/world.js';

/**
 * A linked user adds the app again, and Ring refuses the new link. The old one has then ended as if the app had been
 * removed.
 */

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterEach(() => world.ring.setFaults([]));
afterAll(() => world.stop());

const NAME = 'Door to the Secret Garden';

const REFUSAL = {
  kind: 'body',
  status: 400,
  contentType: 'application/json',
  body: JSON.stringify({ errors: [{ status: '400', title: 'Missing Required Fields', detail: 'nonce' }] }),
};

/** A user with data of every kind that we can hold. */
async function withEverything(): Promise<Owner & { picture: string }> {
  const owner = await sharing(world, { name: NAME });
  const { ringUser, visitor, device, path, csrfToken } = owner;
  await visitor.post(`${path}/scheduled-operations`, { _csrf: csrfToken, frequency: 'HOURLY' });
  world.clock.advance(3_600);
  await recordNow(world, owner);
  await tick('start due snapshots');
  const picture = await until('a picture is there', async () => {
    const [taken] = await world.sql<Pick<Tables['snapshots'], 'id'>>('SELECT id FROM snapshots WHERE account_id = $1', [
      ringUser.account_id,
    ]);
    return taken?.id;
  });
  const { location } = await openLiveView(world.url, owner);
  await closeLiveView(world.url, owner, location);
  for (const type of ['motion_detected', 'subscription_activated']) {
    await world.ring.sendEvent({ user_id: ringUser.id, type, device_id: device.id });
  }
  await untilProcessed(world, ringUser);
  return { ...owner, picture: `${path}/snapshots/${picture}` };
}

async function refuseRenewal({ ringUser, visitor }: Pick<Owner, 'ringUser' | 'visitor'>): Promise<void> {
  world.clock.advance(60);
  await installed(world, ringUser);
  await world.ring.setFaults([{ endpoint: 'integration-post', fault: REFUSAL }]);
  await arriving(world, ringUser, visitor);
  await visitor.submit('/ring/link');
  await untilLink(world, ringUser, 'REFUSED');
  await world.ring.setFaults([]);
  await untilIdle(world);
}

function archiveOf({ account_id }: RingUser): Promise<Record<string, unknown>[]> {
  return world.sql('SELECT * FROM audit_archive WHERE account_id = $1', [account_id]);
}

function subscriptionsOf({ account_id }: RingUser): Promise<unknown[]> {
  return world.sql('SELECT * FROM subscriptions WHERE account_id = $1', [account_id]);
}

test('it leaves nothing that the link had brought', async () => {
  const owner = await withEverything();

  await refuseRenewal(owner);

  const { account_id } = owner.ringUser;
  expect(await tracesOf(world, account_id)).toEqual([
    'account_links',
    'audit_archive',
    'ring_tokens',
    'webhook_events',
  ]);
  expect(await tracesOf(world, NAME)).toEqual(['audit_archive']);
  expect((await pairsOf(world, owner.ringUser)).every(isErased)).toBe(true);
  expect((await inboxOf(world, owner.ringUser)).filter(({ body }) => body !== null)).toEqual([]);
});

test('it is archived once, also when the user then removes the app', async () => {
  const owner = await withEverything();
  await refuseRenewal(owner);
  const archived = await archiveOf(owner.ringUser);
  expect(archived).toMatchObject([
    {
      kind: 'LINK_REMOVED',
      reason: 'refused by Ring',
      request_id: null,
      devices: [{ name: NAME }],
      counts: { motion_detected: 1, snapshots: 1, live_views: 1 },
    },
  ]);
  world.clock.advance(60);

  await world.ring.sendEvent({ user_id: owner.ringUser.id, type: 'app_integration_removed' });
  await untilProcessed(world, owner.ringUser);

  expect(await archiveOf(owner.ringUser)).toEqual(archived);
  expect(await linksOf(world, owner.ringUser)).toMatchObject([{ status: 'REFUSED' }]);
});

test('it leaves no subscription either, though no device was ever shared', async () => {
  const owner = await linked(world, await world.ring.createUser({ devices: [] }));
  const subscription = { subscription_id: 'subscription', sub_type: 'paid', plan_id: 'plan-gold', device_ids: [] };
  await world.ring.sendEvent({ user_id: owner.ringUser.id, type: 'subscription_activated', ...subscription });
  await untilProcessed(world, owner.ringUser);
  await untilIdle(world);
  expect(await subscriptionsOf(owner.ringUser)).toHaveLength(1);

  await refuseRenewal(owner);

  expect(await subscriptionsOf(owner.ringUser)).toEqual([]);
  expect(await archiveOf(owner.ringUser)).toMatchObject([{ kind: 'LINK_REMOVED', reason: 'refused by Ring' }]);
});

test('another user who links the same Ring account sees nothing of it', async () => {
  const owner = await withEverything();
  await refuseRenewal(owner);
  world.clock.advance(60);

  const { visitor } = await linked(world, owner.ringUser);
  await untilIdle(world);

  await visitor.open(owner.path);
  expect(visitor.page.status).toBe(200);
  expect(visitor.page.text).toContain(NAME);
  expect(visitor.page.text).not.toContain('/snapshots/');
  expect(visitor.page.text).not.toContain('Every hour');
  for (const { cookie } of [visitor, owner.visitor]) {
    expect((await send(world.url, owner.picture, { cookie })).status).toBe(404);
  }
});
