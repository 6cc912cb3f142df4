import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Owner, sharing } from '../support/features/devices.js';
import { untilIdle } from '../support/features/inbox.js';
import { openLiveView } from '../support/features/live-views.js';
import { tick } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
beforeAll(async () => {
  // An app that sells nothing, with a list that means nothing then.
  world = await startWorld({ environment: { SUBSCRIPTION_EXEMPT: 'reviewer@example.com' } });
});
afterAll(() => world.stop());

const subscriptionsOf = ({ ringUser }: Owner) =>
  world.sql<{ status: string }>('SELECT status FROM subscriptions WHERE account_id = $1', [ringUser.account_id]);

async function questionsOf({ ringUser }: Owner): Promise<number> {
  const requests = await world.ring.requests();
  return requests.filter(
    ({ account_id, path }) => account_id === ringUser.account_id && path === '/v1/accounts/me/subscriptions',
  ).length;
}

async function tell(owner: Owner, type: 'subscription_activated' | 'subscription_deactivated'): Promise<void> {
  // A question that is still under way would put off the one that this leads to.
  await untilIdle(world);
  await world.ring.sendEvent({ user_id: owner.ringUser.id, type });
  await untilIdle(world);
}

async function addSchedule({ visitor, path, csrfToken }: Owner): Promise<void> {
  await visitor.post(`${path}/scheduled-operations`, { _csrf: csrfToken, frequency: 'HOURLY' });
}

const schedulesOf = ({ ringUser }: Owner) =>
  world.sql<{ status: string; pause_reason: string | null }>(
    'SELECT status, pause_reason FROM scheduled_operations WHERE account_id = $1',
    [ringUser.account_id],
  );

test('where no subscription is required, its end is shown and takes nothing', async () => {
  const owner = await sharing(world);
  await tell(owner, 'subscription_activated');
  await addSchedule(owner);

  await tell(owner, 'subscription_deactivated');
  await tick('check subscriptions');
  await untilIdle(world);

  expect(await schedulesOf(owner)).toEqual([{ status: 'ACTIVE', pause_reason: null }]);
  expect((await openLiveView(world.url, owner)).status).toBe(201);
  const { text } = await owner.visitor.open('/ring/home');
  expect(text).toContain('Paid subscription, ended');
  expect(text).not.toContain('No active subscription');
  const marked = await world.sql('SELECT 1 FROM devices WHERE uncovered_since IS NOT NULL');
  const exempt = await world.sql('SELECT 1 FROM users WHERE exempt_since IS NOT NULL');
  expect([marked, exempt]).toEqual([[], []]);
  expect(world.log.join('')).not.toContain('SUBSCRIPTION_EXEMPT');
});

test('a refusal leaves what Ring has told before, and Ring is not asked day by day', async () => {
  const owner = await sharing(world);
  await tell(owner, 'subscription_activated');
  await world.ring.setFaults([{ endpoint: 'subscriptions', fault: { kind: 'status', status: 403 } }]);

  await tell(owner, 'subscription_deactivated');

  expect(await subscriptionsOf(owner)).toEqual([{ status: 'active' }]);
  const asked = await questionsOf(owner);
  world.clock.advance(3 * 86_400);
  await tick('check subscriptions');
  await untilIdle(world);
  expect(await questionsOf(owner)).toBe(asked);
});

test('what an earlier setting had stopped goes on', async () => {
  const owner = await sharing(world);
  await addSchedule(owner);
  await world.sql(
    `UPDATE scheduled_operations SET status = 'PAUSED', pause_reason = 'SUBSCRIPTION', next_run_at = NULL WHERE account_id = $1`,
    [owner.ringUser.account_id],
  );
  await world.sql('UPDATE devices SET uncovered_since = now() WHERE account_id = $1', [owner.ringUser.account_id]);

  await tick('check subscriptions');

  await until('the schedule goes on', async () => (await schedulesOf(owner))[0]?.status === 'ACTIVE');
});
