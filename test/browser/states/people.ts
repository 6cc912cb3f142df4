import type { Page } from 'playwright-core';
import { visitAs } from '../../support/clients/browser.js';
import type { Owner } from '../../support/features/devices.js';
import { type EventRow, recorded } from '../../support/features/events.js';
import { untilProcessed } from '../../support/features/inbox.js';
import { linked, untilLink } from '../../support/features/linking.js';
import { until } from '../../support/waiting/until.js';
import type { RingUser } from '../../support/worlds/ring.js';
import type { World } from '../../support/worlds/world.js';

/* Who is found on the pages, and what has happened to them. */

export const ago = ({ clock }: World, minutes: number): Date => new Date(clock.now().getTime() - minutes * 60_000);
export const inDays = (world: World, days: number): Date => ago(world, -days * 24 * 60);

/** Names that Ring lets people give to their devices. */
export const NAMES = [
  'Front Door',
  'Überwachungskamera hinter dem Gartenhäuschen am Nachbarzaun, links',
  '<img src=x onerror=alert(1)>',
  '🏡 Garten 🐈',
  'الباب الأمامي',
  'A'.repeat(80),
];

/**
 * A user whose devices have all of these names. The second device is offline, and the state of the third is unknown.
 */
export async function household(world: World): Promise<Owner> {
  const devices = NAMES.map((name, index) => ({ name, online: index !== 1 }));
  const { visitor, ringUser } = await linked(world, await world.ring.createUser({ devices }));
  await until('all devices are known', async () => {
    const known = await world.sql('SELECT 1 FROM devices WHERE account_id = $1 AND name IS NOT NULL', [
      ringUser.account_id,
    ]);
    return known.length === NAMES.length;
  });
  await untilProcessed(world, ringUser);
  const [device = { id: '', name: '' }, , unknown] = ringUser.devices;
  await change(world, ringUser, 'online = NULL, online_at = NULL', unknown?.id);
  return { visitor, ringUser, userId: '', device, path: `/devices/${device.id}`, csrfToken: '' };
}

/** Changes the stored columns of all devices of an account, or of one. */
export async function change(world: World, { account_id }: RingUser, assignment: string, id?: string): Promise<void> {
  await world.sql(`UPDATE devices SET ${assignment} WHERE account_id = $1 AND id = coalesce($2, id)`, [account_id, id]);
}

/** Sixty events of all kinds, of each device in turn. */
export async function eventful(world: World, owner: Owner): Promise<Owner> {
  const kinds: Omit<EventRow, 'occurredAt'>[] = [
    { subtype: 'human' },
    { subtype: 'vehicle' },
    { subtype: 'other_motion' },
    { type: 'button_press', subtype: null },
    { type: 'device_offline', subtype: null },
    { type: 'device_online', subtype: null },
    { type: 'device_added', subtype: null },
    { type: 'contact_sensor_faulted', subtype: null },
    { type: 'flood_detected', subtype: null },
    { type: 'freeze_cleared', subtype: null },
    { type: 'tamper_detected', subtype: null },
  ];
  const { devices } = owner.ringUser;
  const events = Array.from({ length: 60 }, (_, index) => ({
    ...kinds[index % kinds.length],
    deviceId: devices[index % devices.length]?.id ?? '',
    occurredAt: ago(world, 37 * index),
  }));
  await recorded(world, owner, events);
  return owner;
}

export async function eventless(world: World, owner: Owner): Promise<Owner> {
  await untilProcessed(world, owner.ringUser);
  await world.sql('DELETE FROM device_events WHERE account_id = $1', [owner.ringUser.account_id]);
  return owner;
}

export async function removeApp(world: World, ringUser: RingUser): Promise<void> {
  world.clock.advance(1);
  await world.ring.sendEvent({ user_id: ringUser.id, type: 'app_integration_removed' });
  await untilLink(world, ringUser, 'REMOVED');
}

/** The columns of a link that Ring has not confirmed yet. */
export const CONFIRMING = `status = 'CONFIRMING', confirmation_step = 'POSTING', request_key_id = 'test',
                           request_ciphertext = '\\x00'`;

/** The actions of a person at a page. */

/** Presses the button and waits for the page that answers. */
export async function press(page: Page, name: string): Promise<void> {
  await Promise.all([page.waitForEvent('load'), page.getByRole('button', { name, exact: true }).click()]);
}

/** From here on, the page's forms get no answer. */
export async function holdForms(page: Page): Promise<void> {
  await page.evaluate(`addEventListener('submit', (event) => event.preventDefault())`);
}

/** From here on, forms are sent as they are, even with values that the browser would refuse. */
export async function allowAll(page: Page): Promise<void> {
  await page.evaluate(`document.querySelectorAll('form').forEach((form) => { form.noValidate = true; })`);
}

export const open = (page: Page, { world }: { world: World }, address: string): Promise<unknown> =>
  page.goto(world.url + address);

export async function fillIn(page: Page, form: 'sign-in' | 'sign-up', email: string, password: string): Promise<void> {
  const closed = page.locator(`details#${form}:not([open]) summary`);
  if ((await closed.count()) > 0) await closed.click();
  await page.locator(`#${form}-email`).fill(email);
  await page.locator(`#${form}-password`).fill(password);
}

/** Sends a form as it is, even with values that the browser would refuse. */
export async function send(page: Page, action: string): Promise<void> {
  await allowAll(page);
  await Promise.all([
    page.waitForEvent('load'),
    page.locator(`form[action="${action}"] button[type="submit"]`).first().click(),
  ]);
}

/** Does something after the limit for it is used up. */
export async function throttled(
  { world }: { world: World },
  limit: string,
  act: () => Promise<unknown>,
): Promise<void> {
  await world.sql(`UPDATE rate_limits SET points = 1000000 WHERE key LIKE $1`, [`${limit}:%`]);
  await act();
  await world.sql('DELETE FROM rate_limits');
}

export const visitDevice = (page: Page, { visitor, path }: Owner): Promise<void> => visitAs(page, visitor, path);
