import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { until } from '../../support/waiting/until.js';
import type { Delivery } from '../../support/worlds/ring.js';
import type { Rig } from '../rig.js';
import { control, deliveries, recordedRequests, sendEvent, startRig } from '../rig.js';

let rig: Rig;
beforeEach(async () => {
  rig = await startRig();
});
afterEach(() => rig.close());

/** A speed at which the last retry comes after 36 ms. */
const hurry = (): Promise<void> => control(rig, 'PUT', '/settings', { webhookSpeed: 100_000 });
const replay = (): Promise<{ replayed: number }> => control(rig, 'POST', '/dead-letters/replay');

/** Waits until the newest delivery has this state. */
const newestDelivery = (state: string, of = rig): Promise<Delivery> =>
  until(`the newest delivery is ${state}`, async () => {
    const delivery = (await deliveries(of)).at(-1);
    return delivery?.state === state && delivery;
  });

const statusesOf = ({ attempts }: Delivery): (number | null)[] => attempts.map(({ status }) => status);

test.each([200, 204, 299])('%i is a delivery', async (status) => {
  rig.app.webhookStatuses = [status];
  await sendEvent(rig, 'button_press');
  expect(await deliveries(rig)).toEqual([
    {
      request_id: expect.any(String),
      type: 'button_press',
      account_id: 'ava1.ring.account.SIMULATED-ADA',
      state: 'delivered',
      attempts: [{ at: rig.clock.now, status, ms: expect.any(Number) }],
    },
  ]);
});

test.each([400, 401, 404, 429])('%i is final', async (status) => {
  await hurry();
  rig.app.webhookStatuses = [status, 503];
  await sendEvent(rig, 'button_press');
  // A later event has had all its retries. So the first one would have had them, too.
  await sendEvent(rig, 'button_press');
  await newestDelivery('dead-letter');
  const [delivery] = await deliveries(rig);
  expect(delivery).toMatchObject({ state: 'refused', attempts: [{ status }] });
});

test('5xx is retried with the same body until it is taken', async () => {
  await hurry();
  rig.app.webhookStatuses = [500, 503, 200];
  const { attempts } = await sendEvent(rig, 'button_press');
  expect(attempts).toEqual([{ status: 500 }]);
  expect(statusesOf(await newestDelivery('delivered'))).toEqual([500, 503, 200]);
  expect(new Set(rig.app.webhooks.map(({ body }) => body)).size).toBe(1);
});

test('the first retry comes after a second, unless told otherwise', async () => {
  const timed = await startRig({ now: Date.now });
  try {
    timed.app.webhookStatuses = [503, 200];
    await sendEvent(timed, 'button_press');
    const [first, second] = (await newestDelivery('delivered', timed)).attempts;
    expect(Number(second?.at) - Number(first?.at)).toBeGreaterThan(900);
  } finally {
    await timed.close();
  }
});

test('after seven attempts an event is a dead letter, until it is sent again', async () => {
  await hurry();
  rig.app.webhookStatuses = [503];
  const { request_id } = await sendEvent(rig, 'button_press');
  expect(statusesOf(await newestDelivery('dead-letter'))).toEqual(Array.from({ length: 7 }, () => 503));

  rig.app.webhookStatuses = [200];
  expect(await replay()).toEqual({ replayed: 1 });
  const delivered = await newestDelivery('delivered');
  expect(delivered.request_id).toBe(request_id);
  expect(delivered.attempts).toHaveLength(8);
  expect(await replay()).toEqual({ replayed: 0 });
});

test('a dead letter is kept for 72 h', async () => {
  await hurry();
  rig.app.webhookStatuses = [503];
  await sendEvent(rig, 'button_press');
  await newestDelivery('dead-letter');
  rig.clock.now += 72 * 60 * 60 * 1_000 + 1;
  expect(await replay()).toEqual({ replayed: 0 });
});

test('an app that is away gives no status, and is tried again', async () => {
  await hurry();
  await rig.app.close();
  expect((await sendEvent(rig, 'button_press')).attempts).toEqual([{ status: null }]);
  expect(statusesOf(await newestDelivery('dead-letter'))).toEqual(Array.from({ length: 7 }, () => null));
});

test('an app that does not answer within 5 s is tried again', async () => {
  await hurry();
  rig.app.webhookStatuses = [null, 200];
  const { attempts } = await sendEvent(rig, 'button_press');
  expect(attempts).toEqual([{ status: null }]);
  const [first] = (await newestDelivery('delivered')).attempts;
  expect(first?.ms).toBeGreaterThanOrEqual(4_900);
});

test('a reset ends deliveries that are on their way', async () => {
  rig.app.webhookStatuses = [503];
  await sendEvent(rig, 'button_press');
  rig.app.webhookStatuses = [null];
  const unanswered = sendEvent(rig, 'button_press');
  await until('both have come', () => Promise.resolve(rig.app.webhooks.length >= 2));
  await control(rig, 'DELETE', '');
  expect((await unanswered).attempts).toEqual([{ status: null }]);
  expect(await deliveries(rig)).toEqual([]);
  const before = rig.app.webhooks.length;

  // A later event has had a retry. So the earlier ones would have had theirs.
  rig.app.webhookStatuses = [503, 200];
  await sendEvent(rig, 'button_press');
  await newestDelivery('delivered');
  expect(rig.app.webhooks).toHaveLength(before + 2);
});

test('settings change one at a time, and are refused when they are wrong', async () => {
  await control(rig, 'PUT', '/settings', { webhookSpeed: 2 });
  await control(rig, 'PUT', '/settings', {});
  await expect(control(rig, 'PUT', '/settings', { webhookSpeed: 0 })).rejects.toThrow('400');
  await expect(control(rig, 'PUT', '/settings', { speed: 2 })).rejects.toThrow('400');
  expect(await recordedRequests(rig)).toEqual([]);
});
