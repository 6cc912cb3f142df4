import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { Rig } from '../rig.js';
import { callRing, control, errorTitle, newTokens, sendEvent, startRig } from '../rig.js';

interface Page {
  data: { id: string; attributes: object }[];
  links?: { next?: string };
}

let rig: Rig;
let token: string;
beforeEach(async () => {
  rig = await startRig();
  token = (await newTokens(rig)).access_token;
});
afterEach(() => rig.close());

async function read(path = '/v1/accounts/me/subscriptions'): Promise<Page> {
  const response = await callRing(rig, 'GET', path, token);
  expect(response.status).toBe(200);
  return (await response.json()) as Page;
}

test('there is none at first', async () => {
  expect(await read()).toEqual({ data: [] });
});

test('an activated one is there, and stays as inactive', async () => {
  const wish = { subscription_id: 'sub-1', plan_id: 'plan-7', expires_at: '2027-01-01T00:00:00Z' };
  await sendEvent(rig, 'subscription_activated', wish);
  const subscription = {
    id: 'sub-1',
    type: 'subscriptions',
    attributes: {
      sub_type: 'paid',
      status: 'active',
      plan_id: 'plan-7',
      expires_at: '2027-01-01T00:00:00Z',
      created_at: '2026-09-21T14:13:20.000Z',
    },
    relationships: {
      devices: {
        data: ['ada-front-door', 'ada-driveway', 'ada-back-garden'].map((id) => ({ type: 'devices', id })),
      },
    },
  };
  expect(await read()).toEqual({ data: [subscription] });

  await sendEvent(rig, 'subscription_deactivated', { subscription_id: 'sub-1' });
  expect(await read()).toEqual({
    data: [{ ...subscription, attributes: { ...subscription.attributes, status: 'inactive' } }],
  });
});

test('a page has 25, and the next one is linked relatively', async () => {
  const ids = Array.from({ length: 51 }, (_, index) => `sub-${index}`);
  const events = ids.map((subscription_id) => ({
    user_id: 'ada',
    type: 'subscription_activated',
    subscription_id,
    deliver: 'dropped',
  }));
  await control(rig, 'POST', '/event-batches', { events });

  const pages: string[][] = [];
  for (let next: string | undefined = '/v1/accounts/me/subscriptions'; next !== undefined;) {
    expect(next).toMatch(/^\/v1\/accounts\/me\/subscriptions(\?page\[cursor\]=[\w-]+)?$/);
    const page: Page = await read(next);
    pages.push(page.data.map(({ id }) => id));
    next = page.links?.next;
  }
  expect(pages.map(({ length }) => length)).toEqual([25, 25, 1]);
  expect(pages.flat()).toEqual(ids);
});

test('a trial has no plan', async () => {
  await sendEvent(rig, 'subscription_activated', { subscription_id: 'sub-1', sub_type: 'trial' });
  expect((await read()).data).toMatchObject([{ attributes: { sub_type: 'trial', status: 'active', plan_id: null } }]);
});

test('an invented cursor is 400', async () => {
  const response = await callRing(rig, 'GET', '/v1/accounts/me/subscriptions?page[cursor]=invented', token);
  expect(response.status).toBe(400);
});

test.each([
  [403, 'Out of Scope Access'],
  [404, 'Simulated Fault'],
  [422, 'Simulated Fault'],
])('the answer can be %i %s', async (status, title) => {
  await control(rig, 'PUT', '/faults', [{ endpoint: 'subscriptions', fault: { kind: 'status', status } }]);
  const response = await callRing(rig, 'GET', '/v1/accounts/me/subscriptions', token);
  expect([response.status, await errorTitle(response)]).toEqual([status, title]);
});

test('a bad token is 401, one without an app 404, and it can be told to fail', async () => {
  const path = '/v1/accounts/me/subscriptions';
  expect((await callRing(rig, 'GET', path, 'bad')).status).toBe(401);
  await control(rig, 'PUT', '/faults', [
    { endpoint: 'subscriptions', fault: { kind: 'status', status: 500 }, times: 1 },
  ]);
  expect((await callRing(rig, 'GET', path, token)).status).toBe(500);
  await control(rig, 'DELETE', '/integrations?user_id=ada&tokens=good');
  expect((await callRing(rig, 'GET', path, token)).status).toBe(404);
});
