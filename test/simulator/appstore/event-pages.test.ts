import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { launchBrowser } from '../../support/clients/browser.js';
import { accessibilityFaults } from '../../support/inspection/look.js';
import { until } from '../../support/waiting/until.js';
import type { Rig } from '../rig.js';
import { control, deliveries, newTokens, sendEvent, startRig } from '../rig.js';

let rig: Rig;
beforeEach(async () => {
  rig = await startRig();
  await newTokens(rig);
});
afterEach(() => rig.close());

const open = async (path: string): Promise<string> => (await fetch(`${rig.url}${path}`)).text();

/** Sends a form as a browser does, and does not follow the redirect. */
function submit(path: string, fields: Record<string, string> = {}): Promise<Response> {
  return fetch(`${rig.url}${path}`, { method: 'POST', body: new URLSearchParams(fields), redirect: 'manual' });
}

interface Webhook {
  data: { type: string; subType?: string; attributes: Record<string, unknown> };
}
const webhooks = (): Webhook[] => rig.app.webhooks.map(({ body }) => JSON.parse(body) as Webhook);

describe('the buttons of a user with the app', () => {
  test('let something happen to a device, in the chosen class', async () => {
    const response = await submit('/users/ada/events', {
      event: 'motion_detected ada-driveway',
      motion: 'vehicle',
      how: 'once',
    });
    expect(response.status).toBe(303);
    expect(webhooks()).toEqual([
      expect.objectContaining({
        data: expect.objectContaining({
          type: 'motion_detected',
          subType: 'vehicle',
          attributes: { source: 'ada-driveway', source_type: 'devices', timestamp: rig.clock.now },
        }),
      }),
    ]);
    const page = await open(response.headers.get('location') ?? '');
    expect(page).toContain('<option value="vehicle" selected>');
    expect(page).toMatch(/Last webhook: motion_detected <span class="badge delivered">/);
  });

  test('change what the page shows', async () => {
    await submit('/users/ada/events', { event: 'device_offline ada-driveway' });
    expect(await open('/users/ada')).toContain('aria-label="Go online: Driveway"');
    await submit('/users/ada/events', { event: 'device_removed ada-driveway' });
    expect(await open('/users/ada')).toContain('aria-label="Add Driveway"');
    await submit('/users/ada/events', { event: 'device_added ada-driveway' });
    expect(await open('/users/ada')).toContain('aria-label="Remove Driveway"');
    await submit('/users/ada/events', { event: 'app_integration_removed ' });
    expect(await open('/users/ada')).toContain('Add the app');
    expect(webhooks().map(({ data }) => data.type)).toEqual([
      'device_offline',
      'device_removed',
      'device_added',
      'app_integration_removed',
    ]);
  });

  test('let a sensor notice something, and then the opposite', async () => {
    await newTokens(rig, 'kim');
    expect(await open('/users/kim')).not.toContain('Motion at Cellar');
    expect(await open('/users/kim')).toContain('Motion at Yard');
    for (const [device, label, type, otherLabel, otherType] of [
      ['kim-back-door', 'Open: Back Door', 'contact_sensor_faulted', 'Close: Back Door', 'contact_sensor_cleared'],
      ['kim-cellar', 'Flood: Cellar', 'flood_detected', 'Flood is over: Cellar', 'flood_cleared'],
      ['kim-cellar', 'Freeze: Cellar', 'freeze_detected', 'Freeze is over: Cellar', 'freeze_cleared'],
      ['kim-cellar', 'Tamper: Cellar', 'tamper_detected', 'Tampering is over: Cellar', 'tamper_cleared'],
    ] as const) {
      expect(await open('/users/kim')).toContain(`value="${type} ${device}" aria-label="${label}"`);
      await submit('/users/kim/events', { event: `${type} ${device}` });
      expect(await open('/users/kim')).toContain(`value="${otherType} ${device}" aria-label="${otherLabel}"`);
      expect(webhooks().at(-1)?.data.type).toBe(type);
    }
  });

  test('know subscriptions and the integration', async () => {
    for (const event of [
      'subscription_activated paid',
      'subscription_activated trial',
      'subscription_deactivated ',
      'app_integration_added ',
    ]) {
      await submit('/users/ada/events', { event });
    }
    expect(webhooks().map(({ data }) => [data.type, data.attributes.sub_type])).toEqual([
      ['subscription_activated', 'paid'],
      ['subscription_activated', 'trial'],
      ['subscription_deactivated', 'trial'],
      ['app_integration_added', undefined],
    ]);
  });

  test.each([
    ['twice', 2],
    ['late', 1],
    ['dropped', 0],
    ['bad-signature', 1],
  ])('deliver it %s when that is chosen', async (how, count) => {
    const response = await submit('/users/ada/events', { event: 'button_press ada-driveway', how });
    expect(response.headers.get('location')).toContain(`how=${how}`);
    expect(webhooks()).toHaveLength(count);
    const late = how === 'late' ? 600_000 : 0;
    for (const { data } of webhooks()) expect(data.attributes.timestamp).toBe(rig.clock.now - late);
  });

  test('are refused without an event', async () => {
    expect((await submit('/users/ada/events', { how: 'once' })).status).toBe(400);
  });
});

describe('the page of deliveries', () => {
  test('shows the newest 50, the newest first', async () => {
    for (let index = 0; index < 51; index += 1) {
      await sendEvent(rig, 'button_press', { request_id: `request-${index}`, deliver: 'dropped' });
    }
    const shown = [...(await open('/deliveries')).matchAll(/request-(\d+)/g)].map(([, index]) => Number(index));
    expect(shown).toEqual(Array.from({ length: 50 }, (_, index) => 50 - index));
  });

  test('sends dead letters again', async () => {
    await control(rig, 'PUT', '/settings', { webhookSpeed: 1_000_000 });
    rig.app.webhookStatuses = [503];
    await sendEvent(rig, 'button_press');
    await until('it is a dead letter', async () => (await deliveries(rig))[0]?.state === 'dead-letter');
    expect(await open('/deliveries')).toContain('1 given up after all retries.');

    rig.app.webhookStatuses = [200];
    expect((await submit('/deliveries/replay')).headers.get('location')).toBe('/deliveries');
    expect(await open('/deliveries')).toContain('None. Nothing was given up.');
  });
});

describe('the settings', () => {
  test('of webhooks are changed by their form alone', async () => {
    await submit('/misbehaviour/settings', { integrationBody: 'json-api', whepLocation: 'missing' });
    await submit('/misbehaviour/settings', { webhookSpeed: '60', automaticWebhooks: 'on' });
    const page = await open('/misbehaviour');
    expect(page).toContain('value="60"');
    expect(page).toContain('value="on" checked');
    expect(page).toContain('value="missing" selected');
    expect(page).toContain('value="json-api" selected');
  });

  test('are refused when they are wrong', async () => {
    expect((await submit('/misbehaviour/settings', { webhookSpeed: '0' })).status).toBe(400);
    expect((await submit('/misbehaviour/settings', { integrationBody: 'xml' })).status).toBe(400);
  });
});

test('a whole life is lived in the background, and its page shows the steps', async () => {
  rig.app.status = 503;
  const response = await submit('/lives');
  expect(response.status).toBe(303);
  const path = response.headers.get('location') ?? '';
  let page = await open(path);
  while (page.includes('It is being lived.')) page = await open(path);
  expect(page).toContain('install the app');
  expect(page).toContain('the callback answered 503');
  expect((await submit('/lives', { user_id: 'nobody' })).status).toBe(404);
  expect((await fetch(`${rig.url}/lives/none`)).status).toBe(404);
});

describe('in a browser', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(() => browser.close());

  test.each(['light', 'dark'] as const)('the pages are accessible and fit a phone, %s', async (colorScheme) => {
    rig.app.webhookStatuses = [200, 503, 404, 200];
    await sendEvent(rig, 'device_removed', { device_id: 'ada-back-garden' });
    for (const type of ['device_offline', 'button_press', 'motion_detected']) await sendEvent(rig, type);
    const life = (await submit('/lives')).headers.get('location') ?? '';
    const context = await browser.newContext({ colorScheme, viewport: { width: 320, height: 640 } });
    const page = await context.newPage();
    await newTokens(rig, 'kim');
    for (const path of ['/', '/users/ada', '/users/kim', '/users/zoe', '/deliveries', '/misbehaviour', life]) {
      await page.goto(rig.url + path);
      expect([path, await accessibilityFaults(page)]).toEqual([path, []]);
      const sideways = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
      expect([path, await page.evaluate<number>(sideways)]).toEqual([path, 0]);
    }
    await context.close();
  });
});
