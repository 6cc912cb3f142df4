import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { scaled } from '../../support/waiting/limits.js';
import { startWorld, type World } from '../../support/worlds/world.js';
import type { Rig } from '../rig.js';
import { control, startRig } from '../rig.js';

interface Life {
  user_id: string;
  steps: { step: string; ok: boolean; detail: string }[];
}

const EVENTS = [
  'device_added',
  'app_integration_added',
  'motion_detected',
  'button_press',
  'device_offline',
  'device_online',
  'device_removed',
  'app_integration_removed',
];

describe('with the app', () => {
  let world: World;
  beforeEach(async () => {
    world = await startWorld({ patienceMs: scaled(10_000) });
  });
  afterEach(() => world.stop());

  test.each([false, true])('a whole life is lived, webhooks automatic: %s', async (automaticWebhooks) => {
    await world.ring.setSettings({ automaticWebhooks });
    const { user_id, steps } = await world.ring.liveLife();
    expect(steps.map(({ step }) => step)).toEqual([
      'install the app',
      'device_added',
      'follow the redirect to the app',
      'sign up at the app',
      'completed at Ring',
      ...EVENTS.slice(1),
    ]);
    const linking = steps.filter(({ step }) => !EVENTS.includes(step));
    expect(linking.filter(({ ok }) => !ok)).toEqual([]);
    expect(linking.at(-1)?.detail).toMatch(/^linked to v\*\*\*.@example\.com$/);
    for (const { detail } of steps.filter(({ step }) => EVENTS.includes(step))) {
      expect(detail).toMatch(/^the webhook answered (\d+(, )?)+$/);
    }

    const users = await control<{ id: string; account_id: string }[]>({ url: world.ring.url }, 'GET', '/users');
    const account = users.find(({ id }) => id === user_id)?.account_id;
    const types = (await world.ring.deliveries()).map((delivery) => {
      expect(delivery.account_id).toBe(account);
      return delivery.type;
    });
    expect(types).toEqual(['device_added', ...EVENTS]);
  });

  test('a life can be that of an existing user', async () => {
    const user = await world.ring.createUser({ devices: [{ name: 'Shed' }] });
    expect((await world.ring.liveLife(user)).user_id).toBe(user.id);
    expect(await world.ring.integrationOf(user)).toBeUndefined();
  });
});

describe('without it', () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
  });
  afterEach(() => rig.close());

  test('a life ends with the first step that the rest needs', async () => {
    rig.app.status = 503;
    const { steps } = await control<Life>(rig, 'POST', '/lives');
    expect(steps).toEqual([{ step: 'install the app', ok: false, detail: 'the callback answered 503' }]);
  });

  test('webhooks that fail are told, and life goes on', async () => {
    rig.app.webhookStatuses = [500];
    const { steps } = await control<Life>(rig, 'POST', '/lives', { user_id: 'sam' });
    expect(steps.slice(1)).toEqual([
      { step: 'device_added', ok: false, detail: 'the webhook answered 500, 500' },
      { step: 'follow the redirect to the app', ok: true, detail: '200 “”' },
      { step: 'sign up at the app', ok: false, detail: 'the page has no form that leads to /sign-up' },
    ]);
  });

  test('the life of an unknown user is 404', async () => {
    await expect(control(rig, 'POST', '/lives', { user_id: 'nobody' })).rejects.toThrow('404');
  });
});
