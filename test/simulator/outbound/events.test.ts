import { createHmac } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { until } from '../../support/waiting/until.js';
import type { Rig } from '../rig.js';
import {
  callIntegrations,
  callRing,
  control,
  deliveries,
  HMAC_KEY,
  newNonce,
  newTokens,
  sendEvent,
  startRig,
} from '../rig.js';

const ADA = 'ava1.ring.account.SIMULATED-ADA';

let rig: Rig;
beforeEach(async () => {
  rig = await startRig();
});
afterEach(() => rig.close());

async function untilReceived(count: number): Promise<string[]> {
  await until(`${count} webhooks have come`, () => Promise.resolve(rig.app.webhooks.length >= count));
  return rig.app.webhooks.map(({ body }) => (JSON.parse(body) as { data: { type: string } }).data.type);
}

describe('a webhook', () => {
  test('is signed over its body, in hex', async () => {
    const sent = await sendEvent(rig, 'motion_detected', { device_id: 'ada-driveway' });
    const signature = `sha256=${createHmac('sha256', HMAC_KEY).update(sent.body).digest('hex')}`;
    expect(rig.app.webhooks).toEqual([{ contentType: 'application/json', signature, body: sent.body }]);
    expect(sent).toMatchObject({ signature, attempts: [{ status: 200 }], request_id: sent.event.meta.request_id });
    expect(JSON.parse(sent.body)).toEqual(sent.event);
  });

  test('has the envelope of version 1.1, its time with nanoseconds', async () => {
    const { event } = await sendEvent(rig, 'button_press');
    expect(event.meta).toEqual({
      version: '1.1',
      time: expect.stringMatching(/^2026-09-21T14:13:20\.000\d{6}Z$/),
      request_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      account_id: ADA,
    });
    expect(Object.keys(event)).toEqual(['meta', 'data']);
  });

  test('takes time, timestamp and request_id as they are given', async () => {
    const given = { time: '2026-01-02T03:04:05Z', timestamp: 5, request_id: 'mine' };
    const { event } = await sendEvent(rig, 'button_press', given);
    expect(event.meta).toMatchObject({ time: '2026-01-02T03:04:05Z', request_id: 'mine' });
    expect(event.data.attributes.timestamp).toBe(5);
  });
});

describe('the events', () => {
  test.each(['button_press', 'device_added', 'device_removed', 'device_online', 'device_offline'])(
    '%s is about a device',
    async (type) => {
      const { event } = await sendEvent(rig, type, { device_id: 'ada-driveway' });
      expect(event.data).toEqual({
        id: expect.any(String),
        type,
        attributes: { source: 'ada-driveway', source_type: 'devices', timestamp: rig.clock.now },
        relationships: { devices: { links: { self: '/v1/devices/ada-driveway' } } },
      });
    },
  );

  test('motion has a class, beside the type or in the attributes', async () => {
    const { event } = await sendEvent(rig, 'motion_detected', { sub_type: 'vehicle' });
    expect(event.data).toMatchObject({ type: 'motion_detected', subType: 'vehicle' });
    expect(event.data.attributes).not.toHaveProperty('sub_type');

    const other = await sendEvent(rig, 'motion_detected', { sub_type: 'human', sub_type_in: 'attributes' });
    expect(other.event.data).not.toHaveProperty('subType');
    expect(other.event.data.attributes.sub_type).toBe('human');
  });

  test.each(['app_integration_added', 'app_integration_removed'])('%s is about the account', async (type) => {
    const { event } = await sendEvent(rig, type);
    expect(event.data).toEqual({
      id: expect.any(String),
      type,
      attributes: { source: ADA, source_type: 'users', timestamp: rig.clock.now },
    });
    const other = await sendEvent(rig, type, { source_type: 'accounts' });
    expect(other.event.data.attributes.source_type).toBe('accounts');
  });

  test('a subscription is activated with an end, and deactivated without one', async () => {
    const wish = { subscription_id: 'sub-1', plan_id: 'plan-7', device_ids: ['ada-driveway'] };
    const activated = await sendEvent(rig, 'subscription_activated', { ...wish, expires_at: '2027-01-01T00:00:00Z' });
    const attributes = { source: 'subscriptions', source_id: 'sub-1', sub_type: 'paid', plan_id: 'plan-7' };
    const relationships = {
      devices: { data: [{ type: 'device', id: 'ada-driveway' }] },
      subscriptions: { links: { self: '/v1/accounts/me/subscriptions' } },
    };
    expect(activated.event.data).toEqual({
      id: expect.any(String),
      type: 'subscription_activated',
      attributes: { ...attributes, expires_at: '2027-01-01T00:00:00Z' },
      relationships,
    });

    const deactivated = await sendEvent(rig, 'subscription_deactivated');
    expect(deactivated.event.data).toEqual({
      id: expect.any(String),
      type: 'subscription_deactivated',
      attributes,
      relationships,
    });
  });

  test('a trial has no plan, also one that was paid before', async () => {
    await sendEvent(rig, 'subscription_activated', { subscription_id: 'sub-1', plan_id: 'plan-7' });
    for (const type of ['subscription_activated', 'subscription_deactivated']) {
      const { event } = await sendEvent(rig, type, { subscription_id: 'sub-1', sub_type: 'trial' });
      expect(event.data.attributes).toMatchObject({ sub_type: 'trial', plan_id: null });
    }
  });

  test('a subscription has no timestamp, whatever is asked for, also in a batch', async () => {
    const wish = { user_id: 'ada', type: 'subscription_activated' };
    const { event } = await sendEvent(rig, wish.type, { timestamp: 5 });
    expect(event.data.attributes).not.toHaveProperty('timestamp');
    await control(rig, 'POST', '/event-batches', { events: [wish] });
    expect(rig.app.webhooks.map(({ body }) => body).join()).not.toContain('timestamp');
  });

  test('a device with several cameras names them', async () => {
    const { event } = await sendEvent(rig, 'motion_detected', { component_ids: ['left', 'right'] });
    expect(event.data.attributes.component_ids).toEqual(['left', 'right']);
  });

  test('an unknown type is sent as well', async () => {
    await sendEvent(rig, 'doorbell_painted', { device_id: 'ada-front-door' });
    expect(await untilReceived(1)).toEqual(['doorbell_painted']);
  });

  test('need a user, and a device where they are about one', async () => {
    await expect(sendEvent(rig, 'button_press', { user_id: 'nobody' })).rejects.toThrow('404');
    const { id } = await control<{ id: string }>(rig, 'POST', '/users', { devices: [] });
    await expect(sendEvent(rig, 'button_press', { user_id: id })).rejects.toThrow('409');
    await expect(sendEvent(rig, 'button_press', { devices: 'ada-driveway' })).rejects.toThrow('400');
  });
});

describe('an event changes Ring’s state', () => {
  const online = async (token: string): Promise<unknown> => {
    const response = await callRing(rig, 'GET', '/v1/devices/ada-driveway?include=status', token);
    const { included } = (await response.json()) as { included: { attributes: { online: boolean } }[] };
    return included[0]?.attributes.online;
  };

  test('a device is offline and online', async () => {
    const { access_token } = await newTokens(rig);
    await sendEvent(rig, 'device_offline', { device_id: 'ada-driveway' });
    expect(await online(access_token)).toBe(false);
    await sendEvent(rig, 'device_online', { device_id: 'ada-driveway' });
    expect(await online(access_token)).toBe(true);
  });

  test('a device is removed and added', async () => {
    await newTokens(rig);
    const deviceIds = async (): Promise<string[] | undefined> =>
      (await control<{ device_ids: string[] }[]>(rig, 'GET', '/integrations'))[0]?.device_ids;
    await sendEvent(rig, 'device_removed', { device_id: 'ada-driveway' });
    expect(await deviceIds()).toEqual(['ada-front-door', 'ada-back-garden']);
    await sendEvent(rig, 'device_added', { device_id: 'ada-driveway' });
    expect(await deviceIds()).toEqual(['ada-front-door', 'ada-back-garden', 'ada-driveway']);
  });

  test('the app is removed with its tokens, and its events go on', async () => {
    const { access_token } = await newTokens(rig);
    await sendEvent(rig, 'app_integration_removed');
    expect((await callRing(rig, 'GET', '/v1/devices', access_token)).status).toBe(401);
    expect(await control(rig, 'GET', '/integrations')).toEqual([]);
    for (const type of ['device_removed', 'device_added', 'app_integration_removed']) {
      expect((await sendEvent(rig, type)).attempts).toEqual([{ status: 200 }]);
    }
  });

  test('unless it is sent without effect', async () => {
    const { access_token } = await newTokens(rig);
    await sendEvent(rig, 'app_integration_removed', { effect: false });
    await sendEvent(rig, 'device_offline', { effect: false, device_id: 'ada-driveway' });
    expect(await online(access_token)).toBe(true);
  });
});

describe('on the way', () => {
  test('an event is sent twice at the same moment', async () => {
    const { attempts } = await sendEvent(rig, 'button_press', { deliver: 'twice' });
    expect(attempts).toEqual([{ status: 200 }, { status: 200 }]);
    expect(rig.app.webhooks[0]).toEqual(rig.app.webhooks[1]);
  });

  test('it is lost, and has happened all the same', async () => {
    await newTokens(rig);
    const { attempts, request_id } = await sendEvent(rig, 'app_integration_removed', { deliver: 'dropped' });
    expect(attempts).toEqual([]);
    expect(rig.app.webhooks).toEqual([]);
    expect(await control(rig, 'GET', '/integrations')).toEqual([]);
    expect(await deliveries(rig)).toEqual([
      { request_id, type: 'app_integration_removed', account_id: ADA, state: 'dropped', attempts: [] },
    ]);
  });

  test('it is signed with another key', async () => {
    const { body, signature } = await sendEvent(rig, 'button_press', { deliver: 'bad-signature' });
    expect(signature).toMatch(/^sha256=[0-9a-f]{64}$/);
    expect(signature).not.toBe(`sha256=${createHmac('sha256', HMAC_KEY).update(body).digest('hex')}`);
    expect(rig.app.webhooks[0]?.signature).toBe(signature);
  });

  test('it needn’t be waited for', async () => {
    rig.app.webhookStatuses = [null];
    expect((await sendEvent(rig, 'button_press', { wait: false })).attempts).toEqual([]);
    await untilReceived(1);
  });
});

describe('a batch', () => {
  const batch = (order: string): Promise<{ event: { data: { type: string; attributes: object } } }[]> =>
    control(rig, 'POST', '/event-batches', {
      events: [
        { user_id: 'ada', type: 'device_offline' },
        { user_id: 'ada', type: 'device_online' },
        { user_id: 'ada', type: 'button_press', timestamp: 7 },
      ],
      order,
    });

  test.each([
    ['as-given', ['device_offline', 'device_online', 'button_press']],
    ['reversed', ['button_press', 'device_online', 'device_offline']],
  ])('is delivered %s', async (order, types) => {
    const sent = await batch(order);
    expect(sent.map(({ event }) => event.data.type)).toEqual(['device_offline', 'device_online', 'button_press']);
    expect(sent.map(({ event }) => event.data.attributes)).toMatchObject([
      { timestamp: rig.clock.now - 2 },
      { timestamp: rig.clock.now - 1 },
      { timestamp: 7 },
    ]);
    expect(await untilReceived(3)).toEqual(types);
  });

  test.each(['shuffled', 'simultaneous'])('is delivered %s', async (order) => {
    await batch(order);
    expect((await untilReceived(3)).sort()).toEqual(['button_press', 'device_offline', 'device_online']);
  });
});

describe('automatic webhooks', () => {
  test('are off unless wanted', async () => {
    await control(rig, 'POST', '/installs', { user_id: 'ada' });
    await control(rig, 'DELETE', '/integrations?user_id=ada');
    expect(await deliveries(rig)).toEqual([]);
  });

  test('tell about installing, completing and removing', async () => {
    await control(rig, 'PUT', '/settings', { automaticWebhooks: true });
    await control(rig, 'POST', '/installs', { user_id: 'ada' });
    expect(await untilReceived(3)).toEqual(['device_added', 'device_added', 'device_added']);

    const { access_token } = await newTokens(rig);
    const account_identifier = 'a***h@example.com';
    const body = { account_identifier, nonce: await newNonce(rig) };
    await callIntegrations(rig, 'POST', access_token, body);
    await callIntegrations(rig, 'PATCH', access_token, { account_identifier, status: 'completed' });
    expect((await untilReceived(4)).at(-1)).toBe('app_integration_added');

    await control(rig, 'DELETE', '/integrations?user_id=ada');
    expect((await untilReceived(5)).at(-1)).toBe('app_integration_removed');
  });

  test('can be on from the start, and again after a reset', async () => {
    const own = await startRig({ automaticWebhooks: true });
    try {
      await control(own, 'PUT', '/settings', { automaticWebhooks: false });
      await control(own, 'DELETE', '');
      await control(own, 'POST', '/installs', { user_id: 'sam' });
      expect(await deliveries(own)).toHaveLength(2);
    } finally {
      await own.close();
    }
  });
});
