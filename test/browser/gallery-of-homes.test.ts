import { afterAll, beforeAll, describe, test } from '@jest/globals';
import type { Page } from 'playwright-core';
import { inventedPeople } from '../../src/simulator/state/invented-people.js';
import { type Owner, sharing } from '../support/devices.js';
import { type EventRow, linkOn, recorded } from '../support/events.js';
import { Gallery, holdForms, type State, visitAs } from '../support/gallery.js';
import { untilIdle, untilProcessed } from '../support/inbox.js';
import { arriving, installed, linked, signedIn, untilLink } from '../support/linking.js';
import type { RingUser } from '../support/ring.js';
import { until } from '../support/until.js';
import type { Visitor } from '../support/visitor.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
let gallery: Gallery;
beforeAll(async () => {
  world = await startWorld();
  gallery = await Gallery.open(world.url);
});
afterAll(async () => {
  await gallery.close();
  await world.stop();
});

const ago = (minutes: number): Date => new Date(world.clock.now().getTime() - minutes * 60_000);
const inDays = (days: number): Date => ago(-days * 24 * 60);

/** What Ring lets people call their devices. */
const NAMES = [
  'Front Door',
  'Überwachungskamera hinter dem Gartenhäuschen am Nachbarzaun, links',
  '<img src=x onerror=alert(1)>',
  '🏡 Garten 🐈',
  'الباب الأمامي',
  'A'.repeat(80),
];

/** Somebody whose devices have all of these names, the second of them offline and the third unknown. */
async function household(): Promise<Owner> {
  const devices = NAMES.map((name, index) => ({ name, online: index !== 1 }));
  const { visitor, ringUser } = await linked(world, await world.ring.createUser({ devices }));
  await until('all devices are known', async () => {
    const known = await world.sql('SELECT 1 FROM devices WHERE account_id = $1 AND name IS NOT NULL', [
      ringUser.account_id,
    ]);
    return known.length === NAMES.length;
  });
  await untilProcessed(world, ringUser);
  const [, , unknown] = ringUser.devices;
  await change(ringUser, 'online = NULL, online_at = NULL', unknown?.id);
  return ownerOf(visitor, ringUser);
}

function ownerOf(visitor: Visitor, ringUser: RingUser): Owner {
  const [device = { id: '', name: '' }] = ringUser.devices;
  return { visitor, ringUser, userId: '', device, path: `/devices/${device.id}`, csrfToken: '' };
}

/** Changes what is known of the devices of an account, or of one. */
async function change({ account_id }: RingUser, assignment: string, id?: string): Promise<void> {
  await world.sql(`UPDATE devices SET ${assignment} WHERE account_id = $1 AND id = coalesce($2, id)`, [account_id, id]);
}

async function subscribed({ account_id, devices }: RingUser, kinds: [type: string, status: string, until: Date][]) {
  for (const [type, status, expiresAt] of kinds) {
    await world.sql(
      `INSERT INTO subscriptions (account_id, id, sub_type, status, expires_at, device_ids, fetched_at)
       VALUES ($1, gen_random_uuid(), $2, $3, $4, $5, now())`,
      [account_id, type, status, expiresAt, devices.slice(0, 2).map(({ id }) => id)],
    );
  }
}

/** Sixty events of all kinds, of all devices in turn. */
async function eventful(owner: Owner): Promise<Owner> {
  const kinds: Omit<EventRow, 'occurredAt'>[] = [
    { subtype: 'human' },
    { subtype: 'vehicle' },
    { subtype: 'other_motion' },
    { type: 'button_press', subtype: null },
    { type: 'device_offline', subtype: null },
    { type: 'device_online', subtype: null },
    { type: 'device_added', subtype: null },
  ];
  const { devices } = owner.ringUser;
  const events = Array.from({ length: 60 }, (_, index) => ({
    ...kinds[index % kinds.length],
    deviceId: devices[index % devices.length]?.id ?? '',
    occurredAt: ago(37 * index),
  }));
  await recorded(world, owner, events);
  return owner;
}

async function eventless(owner: Owner): Promise<Owner> {
  await untilProcessed(world, owner.ringUser);
  await world.sql('DELETE FROM device_events WHERE account_id = $1', [owner.ringUser.account_id]);
  return owner;
}

async function removeApp(ringUser: RingUser): Promise<void> {
  world.clock.advance(1);
  await world.ring.sendEvent({ user_id: ringUser.id, type: 'app_integration_removed' });
  await untilLink(world, ringUser, 'REMOVED');
}

/** Somebody whose link stands like this. */
async function linkedWith(assignment: string, devices = [{ name: 'Front Door' }]): Promise<Visitor> {
  const { visitor, ringUser } = await linked(world, await world.ring.createUser({ devices }));
  await untilProcessed(world, ringUser);
  await untilIdle(world);
  await world.sql(`UPDATE account_links SET ${assignment} WHERE account_id = $1`, [ringUser.account_id]);
  return visitor;
}

const CONFIRMING = `status = 'CONFIRMING', confirmation_step = 'POSTING', request_key_id = 'test', request_ciphertext = '\\x00'`;

const visitHome = (visitor: Visitor) => (page: Page) => visitAs(page, visitor, '/ring/home');
const homeOf =
  (visitor: () => Promise<Visitor>): State['visit'] =>
  async (page) =>
    visitHome(await visitor())(page);

const HOMES: State[] = [
  { name: 'home-no-link', says: 'Open the Ring app', visit: homeOf(() => signedIn(world)) },
  { name: 'home-confirming', visit: homeOf(() => linkedWith(`${CONFIRMING}, last_error = NULL`)) },
  { name: 'home-ring-unreachable', visit: homeOf(() => linkedWith(`${CONFIRMING}, last_error = 'unavailable'`)) },
  {
    name: 'home-sign-in-again',
    says: 'tap Sign In',
    visit: homeOf(() => linkedWith(`${CONFIRMING}, last_error = 'nonce too old'`)),
  },
  {
    name: 'home-no-devices',
    says: 'choose them in the Ring app',
    visit: homeOf(() => linkedWith(`status = 'COMPLETED'`, [])),
  },
  {
    name: 'home-devices-unknown',
    says: /Ring (isn’t|is not) answering|(can’t|could not|couldn’t) reach Ring|without success/,
    async visit(page) {
      const { visitor, ringUser } = await sharing(world);
      await untilProcessed(world, ringUser);
      await change(
        ringUser,
        `name = NULL, online = NULL, online_at = NULL, fetched_at = NULL, fetch_error = 'unavailable'`,
      );
      await visitHome(visitor)(page);
    },
  },
  { name: 'home-refused', says: 'add it again', visit: homeOf(() => linkedWith(`status = 'REFUSED'`)) },
  { name: 'home-needs-relinking', says: 'add it again', visit: homeOf(() => linkedWith(`status = 'REAUTH_REQUIRED'`)) },
  {
    name: 'home-link-removed',
    says: 'add it from the Ring Appstore',
    async visit(page) {
      const { visitor, ringUser } = await sharing(world);
      await removeApp(ringUser);
      await visitHome(visitor)(page);
    },
  },
  {
    name: 'home-full',
    says: 'Paid subscription',
    async visit(page) {
      const { visitor, ringUser } = await eventful(await household());
      await subscribed(ringUser, [
        ['paid', 'active', inDays(300)],
        ['trial', 'active', inDays(12)],
        ['paid', 'inactive', inDays(-3)],
      ]);
      await visitHome(visitor)(page);
    },
  },
  {
    name: 'home-device-removed',
    says: 'Removed in the Ring app',
    async visit(page) {
      const { visitor, ringUser, device } = await sharing(world);
      world.clock.advance(1);
      await world.ring.sendEvent({ user_id: ringUser.id, type: 'device_removed', device_id: device.id });
      await untilProcessed(world, ringUser);
      await visitHome(visitor)(page);
    },
  },
  {
    name: 'home-several-accounts',
    async visit(page) {
      const { visitor } = await eventful(await sharing(world));
      for (const name of ['Garage', 'Holiday home']) {
        const ringUser = await installed(world, await world.ring.createUser({ devices: [{ name }] }));
        await arriving(world, ringUser, visitor);
        await visitor.submit('/ring/link');
        await untilLink(world, ringUser, 'COMPLETED');
        await untilProcessed(world, ringUser);
        if (name === 'Holiday home') await removeApp(ringUser);
      }
      await visitHome(visitor)(page);
    },
  },
];

const invented = (deviceId: string) => {
  const devices = inventedPeople().flatMap((person) => person.devices);
  const { capabilities = null, configurations = null } = devices.find(({ id }) => id === deviceId) ?? {};
  return { capabilities, configurations };
};

interface OperationRow {
  frequency: 'HOURLY' | 'DAILY';
  pause?: 'USER' | 'OFFLINE';
  error?: string;
}

async function scheduled({ ringUser, device }: Owner, operations: OperationRow[]): Promise<void> {
  for (const { frequency, pause = null, error = null } of operations) {
    const isDaily = frequency === 'DAILY';
    await world.sql(
      `INSERT INTO scheduled_operations (id, user_id, link_id, account_id, device_id, kind, frequency, time_of_day,
                                         time_zone, status, pause_reason, next_run_at, last_error, created_at)
       SELECT gen_random_uuid(), user_id, id, account_id, $2, 'SNAPSHOT', $3, $4, $5, $6, $7, $8, $9, now()
         FROM account_links WHERE account_id = $1`,
      [
        ringUser.account_id,
        device.id,
        frequency,
        isDaily ? '07:30' : null,
        isDaily ? 'America/Argentina/ComodRivadavia' : null,
        pause === null ? 'ACTIVE' : 'PAUSED',
        pause,
        pause === null ? inDays(0.5) : null,
        error,
      ],
    );
  }
}

const visitDevice = (page: Page, { visitor, path }: Owner) => visitAs(page, visitor, path);

/** The device's page for a new owner; nothing is there but what Ring tells of most devices. */
async function visitNew(page: Page, wish: Parameters<typeof sharing>[1] = {}): Promise<Owner> {
  const owner = await eventless(await sharing(world, wish));
  await visitDevice(page, owner);
  return owner;
}

async function press(page: Page, name: string): Promise<void> {
  await Promise.all([page.waitForEvent('load'), page.getByRole('button', { name, exact: true }).click()]);
}

async function sendDaily(page: Page, time: string, zone: string): Promise<void> {
  await visitNew(page);
  await page.evaluate(`document.querySelectorAll('form').forEach((form) => { form.noValidate = true; })`);
  if (time !== '') await page.locator('#time-of-day').fill(time);
  await page.locator('#time-zone').selectOption(zone);
  await press(page, 'Schedule once a day');
}

async function watch(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Watch live' }).click();
}
const untilFrames = (page: Page) =>
  until('frames arrive', () =>
    page.evaluate<boolean>('document.querySelector("video").getVideoPlaybackQuality().totalVideoFrames > 5'),
  );
const untilSaid = (page: Page, words: string) => page.locator('.live').getByText(words).waitFor();

const triangle = [
  { x: 0.1, y: 0.1 },
  { x: 0.6, y: 0.2 },
  { x: 0.3, y: 0.8 },
];
const ODD_ZONES = [
  [{ x: 0.5, y: 0.5 }],
  [],
  Array.from({ length: 3 }, () => ({ x: 0.2, y: 0.2 })),
  [
    { x: 0, y: 0 },
    { x: 1, y: 1 },
    { x: 1, y: 0 },
    { x: 0, y: 1 },
  ],
  triangle,
];

const DEVICES: State[] = [
  {
    name: 'device-full',
    says: 'Pictures',
    async visit(page) {
      const owner = await sharing(world, { name: 'Front Door', ...invented('ada-front-door') });
      await eventful(owner);
      await scheduled(owner, [
        { frequency: 'DAILY' },
        { frequency: 'HOURLY', pause: 'USER' },
        { frequency: 'HOURLY', error: 'unavailable 503' },
      ]);
      await visitDevice(page, owner);
      for (let count = 0; count < 3; count++) await press(page, 'Take a picture now');
      await page.locator('.pictures li:nth-child(3)').waitFor();
    },
  },
  {
    name: 'device-nothing-known',
    says: 'Nothing has happened yet',
    visit: (page) => visitNew(page, { capabilities: null, configurations: null, location: null }),
  },
  {
    name: 'device-status-unknown',
    says: 'Status not known yet',
    async visit(page) {
      const owner = await eventless(await sharing(world));
      await change(owner.ringUser, 'online = NULL, online_at = NULL');
      await visitDevice(page, owner);
    },
  },
  {
    name: 'device-offline',
    says: 'as soon as it is online again',
    async visit(page) {
      const owner = await eventful(await sharing(world, { name: 'Garage', online: false }));
      await scheduled(owner, [{ frequency: 'HOURLY', pause: 'OFFLINE' }]);
      await visitDevice(page, owner);
    },
  },
  {
    name: 'device-outdated',
    says: 'Ring isn’t answering right now',
    async visit(page) {
      const owner = await eventful(await sharing(world));
      await change(owner.ringUser, `fetch_error = 'unavailable', fetched_at = now() - interval '3 hours'`);
      await visitDevice(page, owner);
    },
  },
  {
    name: 'device-never-fetched',
    says: /Ring (isn’t|is not) answering|(can’t|could not|couldn’t) reach Ring|without success/,
    async visit(page) {
      const owner = await eventless(await sharing(world));
      await change(
        owner.ringUser,
        `name = NULL, capabilities = NULL, configurations = NULL, fetched_at = NULL, fetch_error = 'unavailable'`,
      );
      await visitDevice(page, owner);
    },
  },
  {
    name: 'device-odd-zones',
    async visit(page) {
      const motion_zones = ODD_ZONES.map((vertices, index) => ({ id: `zone-${index}`, vertices }));
      const configurations = {
        motion_detection: { enabled: 'off', motion_zones },
        image_enhancements: { privacy_zones: [{ id: 'privacy', vertices: triangle }] },
      };
      const capabilities = { video: { ratio: '3:4' }, motion_detection: { configurations: ['motion_zones'] } };
      await visitNew(page, { capabilities, configurations });
    },
  },
  ...NAMES.slice(1).map((name, index) => ({
    name: `device-named-${index + 1}`,
    visit: (page: Page) => visitNew(page, { name }),
  })),
  { name: 'device-schedule-no-time', says: 'like 07:30', visit: (page) => sendDaily(page, '', 'Europe/Berlin') },
  { name: 'device-schedule-no-zone', says: 'Choose a time zone', visit: (page) => sendDaily(page, '07:30', '') },
  {
    name: 'device-with-most-of-all',
    says: 'as many as it can have',
    async visit(page) {
      const owner = await eventful(await sharing(world, { name: 'Front Door', ...invented('ada-front-door') }));
      await visitDevice(page, owner);
      await press(page, 'Take a picture now');
      await world.sql(
        `INSERT INTO snapshots (id, account_id, device_id, taken_at, content_type, picture)
         SELECT gen_random_uuid(), account_id, device_id, taken_at - number * interval '1 hour', content_type, picture
           FROM snapshots, generate_series(1, 19) number WHERE account_id = $1`,
        [owner.ringUser.account_id],
      );
      await scheduled(
        owner,
        Array.from({ length: 10 }, (_, index) => ({ frequency: index < 5 ? 'DAILY' : 'HOURLY' })),
      );
      await page.reload();
    },
  },
  {
    name: 'device-with-all-but-one-schedule',
    async visit(page) {
      const owner = await eventless(await sharing(world));
      await scheduled(
        owner,
        Array.from({ length: 9 }, () => ({ frequency: 'DAILY', error: 'unavailable 503' })),
      );
      await visitDevice(page, owner);
    },
  },
  {
    name: 'device-no-picture',
    says: 'please try again in a moment',
    async visit(page) {
      await visitNew(page);
      await world.ring.setFaults([{ endpoint: 'image', fault: { kind: 'status', status: 500 } }]);
      await press(page, 'Take a picture now').finally(() => world.ring.setFaults([]));
    },
  },
  {
    name: 'device-taking-picture',
    says: 'Asking the device',
    async visit(page) {
      await visitNew(page);
      await holdForms(page);
      await page.getByRole('button', { name: 'Take a picture now' }).click();
    },
  },
  {
    name: 'live-view-running',
    says: /\d+ seconds left/,
    async visit(page) {
      await visitNew(page);
      await watch(page);
      await untilFrames(page);
    },
  },
  {
    name: 'live-view-ended',
    says: 'The live view is closed',
    async visit(page) {
      await visitNew(page);
      await watch(page);
      await untilFrames(page);
      await page.getByRole('button', { name: 'End live view' }).click();
    },
  },
  {
    name: 'live-view-refused',
    says: 'try again in a moment',
    async visit(page) {
      await visitNew(page);
      await world.ring.setFaults([{ endpoint: 'whep-post', fault: { kind: 'status', status: 500 }, times: 1 }]);
      await watch(page);
      await untilSaid(page, 'Ring could not');
    },
  },
  {
    name: 'live-view-of-offline-device',
    says: 'power and Wi-Fi',
    async visit(page) {
      await visitNew(page);
      await world.ring.setFaults([{ endpoint: 'whep-post', fault: { kind: 'status', status: 503 }, times: 1 }]);
      await watch(page);
      await untilSaid(page, 'offline');
    },
  },
];

const eventsOf =
  (visitor: () => Promise<Visitor>, address = '/events'): State['visit'] =>
  async (page) =>
    visitAs(page, await visitor(), address);

const quiet = async () => (await eventless(await sharing(world))).visitor;

/** Follows links on the page of events. */
const leaf =
  (...names: string[]): State['visit'] =>
  async (page) => {
    const { visitor } = await eventful(await household());
    let address = '/events';
    for (const name of names) address = linkOn((await visitor.open(address)).text, name);
    await visitAs(page, visitor, address);
  };

const EVENTS: State[] = [
  { name: 'events', visit: leaf() },
  {
    name: 'events-filtered',
    async visit(page) {
      const { visitor, device } = await eventful(await household());
      await visitAs(page, visitor, `/events?device=${device.id}&kind=person`);
    },
  },
  { name: 'events-middle', says: 'Newer events', visit: leaf('Older events') },
  { name: 'events-last', visit: leaf('Older events', 'Older events') },
  {
    name: 'events-after-last',
    says: 'That was the oldest event',
    async visit(page) {
      const owner = await eventful(await sharing(world));
      await eventless(owner);
      const end = Buffer.from(JSON.stringify([0, '00000000-0000-0000-0000-000000000000'])).toString('base64url');
      await visitAs(page, owner.visitor, `/events?before=${end}`);
    },
  },
  { name: 'events-none', says: 'No events yet', visit: eventsOf(quiet) },
  { name: 'events-no-match', says: 'Choose something else', visit: eventsOf(quiet, '/events?kind=vehicle') },
  { name: 'events-no-link', says: 'Open the Ring app', visit: eventsOf(() => signedIn(world)) },
  {
    name: 'events-no-devices',
    says: 'You choose them in the Ring app',
    visit: eventsOf(() => linkedWith(`status = 'COMPLETED'`, [])),
  },
  { name: 'events-not-ready', says: 'home page', visit: eventsOf(() => linkedWith(`status = 'REAUTH_REQUIRED'`)) },
];

describe.each([
  ['home', HOMES.map((state) => ({ title: 'Home', ...state }))],
  ['a device', DEVICES],
  ['events', EVENTS],
])('the pages of %s hold for everybody', (_pages, states) => {
  test.each(states)('$name', async (state) => {
    await gallery.expectFit(state);
  });
});
