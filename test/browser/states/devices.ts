import type { Page } from 'playwright-core';
import { inventedPeople } from '../../../src/simulator/state/invented-people.js';
import { visitAs } from '../../support/clients/browser.js';
import { type Owner, recordNow, sharing } from '../../support/features/devices.js';
import { until } from '../../support/waiting/until.js';
import { type World } from '../../support/worlds/world.js';
import { untilProcessed } from '../../support/features/inbox.js';
import { type Fault } from '../../support/worlds/ring.js';
import { allowAll, change, eventful, eventless, holdForms, inDays, NAMES, press, visitDevice } from './people.js';
import type { Stage } from './stage.js';
import type { State } from './state.js';
import { visitUncovered } from './uncovered.js';

const invented = (deviceId: string) => {
  const devices = inventedPeople().flatMap((person) => person.devices);
  const { capabilities = null, configurations = null } = devices.find(({ id }) => id === deviceId) ?? {};
  return { capabilities, configurations };
};

const LATEST = 'Show the latest picture';

/** Asks for the picture of the newest event. */
async function showPicture(page: Page): Promise<void> {
  await Promise.all([
    page.waitForEvent('load'),
    page.getByRole('button', { name: 'Show the picture' }).first().click(),
  ]);
}

interface ScheduleRow {
  frequency: 'HOURLY' | 'DAILY';
  pause?: 'USER' | 'OFFLINE';
  outcome?: string;
}

async function scheduled(world: World, { ringUser, device }: Owner, schedules: ScheduleRow[]): Promise<void> {
  for (const { frequency, pause = null, outcome = null } of schedules) {
    const isDaily = frequency === 'DAILY';
    await world.sql(
      `INSERT INTO scheduled_operations (id, user_id, link_id, account_id, device_id, kind, frequency, time_of_day,
                                         time_zone, status, pause_reason, next_run_at, last_outcome, created_at)
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
        pause === null ? inDays(world, 0.5) : null,
        outcome,
      ],
    );
  }
}

/**
 * Opens the device's page for a new owner. Ring tells of it what it tells of most devices, and nothing has happened.
 */
async function visitNew(page: Page, { world }: Stage, wish: Parameters<typeof sharing>[1] = {}): Promise<void> {
  await visitDevice(page, await eventless(world, await sharing(world, wish)));
}

const visitQuiet = async (page: Page, stage: Stage): Promise<void> => visitDevice(page, await stage.quiet());

async function sendDaily(page: Page, stage: Stage, time: string, zone: string): Promise<void> {
  await visitQuiet(page, stage);
  await allowAll(page);
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

const refusing = (endpoint: 'image' | 'media', status: number, code?: string): Fault => ({
  endpoint,
  fault: { kind: 'status', status, ...(code !== undefined && { code }) },
});

/** Ring's refusals of a picture, and the words that say what can be done. */
const OUTCOMES: [name: string, says: string, fault: Fault][] = [
  ['nothing', 'Watch live for a moment', refusing('media', 416)],
  ['not-ready', 'We ask again within a minute', refusing('media', 425)],
  ['not-shared', 'You find it in the Ring app', refusing('image', 403, 'TIME_RANGE_NOT_AUTHORIZED')],
  ['busy', 'try again in a moment', refusing('media', 503)],
  ['damaged', 'The next recording has a picture again', refusing('media', 422)],
  ['gone', 'share it again in the Ring app', refusing('image', 404)],
];

export const DEVICES: State[] = [
  {
    name: 'device-full',
    example: 'device',
    says: 'Pictures',
    async visit(page, { world }) {
      const owner = await sharing(world, { name: NAMES[1] ?? '', ...invented('ada-front-door') });
      await eventful(world, owner);
      await scheduled(world, owner, [
        { frequency: 'DAILY' },
        { frequency: 'HOURLY', pause: 'USER' },
        { frequency: 'HOURLY', outcome: 'nothing' },
      ]);
      await visitDevice(page, owner);
      for (let count = 0; count < 3; count++) {
        world.clock.advance(1);
        await recordNow(world, owner);
        await press(page, LATEST);
      }
      await page.locator('.pictures li:nth-child(3)').waitFor();
    },
  },
  {
    name: 'device-nothing-known',
    says: 'Nothing has happened yet',
    visit: (page, stage) => visitNew(page, stage, { capabilities: null, configurations: null, location: null }),
  },
  {
    name: 'device-status-unknown',
    says: 'Status not known yet',
    async visit(page, { world }) {
      const owner = await eventless(world, await sharing(world));
      await change(world, owner.ringUser, 'online = NULL, online_at = NULL');
      await visitDevice(page, owner);
    },
  },
  {
    name: 'device-offline',
    example: 'device',
    says: 'as soon as it is online again',
    async visit(page, { world }) {
      const owner = await eventful(world, await sharing(world, { name: 'Garage', online: false }));
      await scheduled(world, owner, [{ frequency: 'HOURLY', pause: 'OFFLINE' }]);
      await visitDevice(page, owner);
    },
  },
  {
    name: 'device-uncovered',
    says: /No active subscription covers this device\..*in the Ring app/,
    title: 'Front Door',
    visit: (page) => visitUncovered(page, 'device'),
  },
  {
    name: 'device-outdated',
    says: 'Ring isn’t answering right now',
    async visit(page, { world }) {
      const owner = await eventful(world, await sharing(world));
      await change(world, owner.ringUser, `fetch_error = 'unavailable', fetched_at = now() - interval '3 hours'`);
      await visitDevice(page, owner);
    },
  },
  {
    name: 'device-never-fetched',
    says: /Ring (isn’t|is not) answering|(can’t|could not|couldn’t) reach Ring|without success/,
    async visit(page, { world }) {
      const owner = await eventless(world, await sharing(world));
      await change(
        world,
        owner.ringUser,
        `name = NULL, capabilities = NULL, configurations = NULL, fetched_at = NULL, fetch_error = 'unavailable'`,
      );
      await visitDevice(page, owner);
    },
  },
  {
    name: 'device-sensor',
    says: 'Water detected',
    async visit(page, { world }) {
      const owner = await sharing(world, { ...invented('kim-cellar'), name: 'Cellar', faulted: ['flood_detection'] });
      await eventless(world, owner);
      await change(world, owner.ringUser, `sensors = sensors - 'freeze'`);
      await visitDevice(page, owner);
    },
  },
  {
    name: 'device-odd-zones',
    async visit(page, stage) {
      const motion_zones = ODD_ZONES.map((vertices, index) => ({ id: `zone-${index}`, vertices }));
      const configurations = {
        motion_detection: { enabled: 'off', motion_zones },
        image_enhancements: { privacy_zones: [{ id: 'privacy', vertices: triangle }] },
      };
      const capabilities = { video: { ratio: '3:4' }, motion_detection: { configurations: ['motion_zones'] } };
      await visitNew(page, stage, { capabilities, configurations });
    },
  },
  ...NAMES.slice(1).map((name, index): State => ({
    name: `device-named-${index + 1}`,
    // The longest name, which has no place to break.
    ...(name.startsWith('AA') && { example: 'device' }),
    async visit(page, stage) {
      const { visitor, ringUser } = await stage.eventful();
      await visitAs(page, visitor, `/devices/${ringUser.devices.find((device) => device.name === name)?.id}`);
    },
  })),
  {
    name: 'device-schedule-no-time',
    says: 'like 07:30',
    visit: (page, stage) => sendDaily(page, stage, '', 'Europe/Berlin'),
  },
  {
    name: 'device-schedule-no-zone',
    says: 'Choose a time zone',
    visit: (page, stage) => sendDaily(page, stage, '07:30', ''),
  },
  {
    name: 'device-with-most-of-all',
    example: 'device',
    says: 'as many as it can have',
    async visit(page, { world }) {
      const owner = await eventful(world, await sharing(world, { name: 'Front Door', ...invented('ada-front-door') }));
      await recordNow(world, owner);
      await visitDevice(page, owner);
      await press(page, LATEST);
      await world.sql(
        `INSERT INTO snapshots (id, account_id, device_id, taken_at, content_type, picture)
         SELECT gen_random_uuid(), account_id, device_id, taken_at - number * interval '1 hour', content_type, picture
           FROM snapshots, generate_series(1, 19) number WHERE account_id = $1`,
        [owner.ringUser.account_id],
      );
      await scheduled(
        world,
        owner,
        Array.from({ length: 10 }, (_, index) => ({ frequency: index < 5 ? 'DAILY' : 'HOURLY' })),
      );
      await page.reload();
    },
  },
  {
    name: 'device-with-all-but-one-schedule',
    async visit(page, { world }) {
      const owner = await eventless(world, await sharing(world));
      await scheduled(
        world,
        owner,
        Array.from({ length: 9 }, () => ({ frequency: 'DAILY', outcome: 'damaged' })),
      );
      await visitDevice(page, owner);
    },
  },
  {
    name: 'device-no-picture',
    says: 'please try again in a moment',
    async visit(page, stage) {
      await visitQuiet(page, stage);
      await stage.world.ring.setFaults([{ endpoint: 'image', fault: { kind: 'status', status: 500 } }]);
      await press(page, LATEST).finally(() => stage.world.ring.setFaults([]));
    },
  },
  ...OUTCOMES.map(([name, says, fault]): State => ({
    name: `device-picture-${name}`,
    says,
    async visit(page, { world }) {
      await visitDevice(page, await eventless(world, await sharing(world)));
      await world.ring.setFaults([fault]);
      await press(page, LATEST).finally(() => world.ring.setFaults([]));
    },
  })),
  {
    name: 'device-picture-encrypted',
    says: 'Look at it in the Ring app',
    async visit(page, { world }) {
      const owner = await eventless(world, await sharing(world, { encryption: 'account' }));
      await recordNow(world, owner);
      await visitDevice(page, owner);
      await press(page, LATEST);
    },
  },
  {
    name: 'device-picture-known',
    says: 'This is still the latest picture',
    async visit(page, { world }) {
      const owner = await eventless(world, await sharing(world));
      await recordNow(world, owner);
      await visitDevice(page, owner);
      for (let count = 0; count < 2; count++) await press(page, LATEST);
    },
  },
  {
    name: 'device-event-pictures-on',
    says: 'fetched automatically',
    async visit(page, stage) {
      await visitNew(page, stage);
      await press(page, 'Fetch them automatically');
    },
  },
  {
    name: 'device-without-camera',
    says: 'What this device can do',
    visit: (page, stage) => visitNew(page, stage, { capabilities: { video: null, motion_detection: null } }),
  },
  ...(['first', 'middle', 'last'] as const).map((place, index): State => ({
    name: `picture-${place}`,
    ...(place === 'middle' && { example: 'picture' }),
    says: place === 'last' ? 'Newer picture' : 'Older picture',
    async visit(page, { world }) {
      const owner = await eventless(world, await sharing(world, { name: NAMES[1] ?? '' }));
      await visitDevice(page, owner);
      for (let count = 0; count < 3; count++) {
        world.clock.advance(1);
        await recordNow(world, owner);
        await press(page, LATEST);
      }
      await page.locator('.pictures a').nth(index).click();
      await page.getByRole('heading', { name: /^Picture of/ }).waitFor();
    },
  })),
  {
    name: 'event-picture-missing',
    example: 'event-picture',
    says: 'Ring has no recording of this event',
    async visit(page, { world }) {
      await visitDevice(page, await eventful(world, await sharing(world, { name: NAMES[1] ?? '' })));
      await showPicture(page);
    },
  },
  {
    name: 'device-event-picture-kept',
    says: 'Show the picture',
    async visit(page, { world }) {
      const owner = await eventless(world, await sharing(world));
      const { ringUser, device } = owner;
      await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected', device_id: device.id });
      await untilProcessed(world, ringUser);
      await visitDevice(page, owner);
      await showPicture(page);
      await page.getByRole('link', { name: /^Close/ }).click();
      await page.getByRole('link', { name: 'Show the picture' }).waitFor();
    },
  },
  {
    name: 'event-picture-not-ready',
    says: 'We ask again within a minute',
    async visit(page, { world }) {
      await visitDevice(page, await eventful(world, await sharing(world)));
      await world.ring.setFaults([refusing('media', 425)]);
      await showPicture(page).finally(() => world.ring.setFaults([]));
    },
  },
  {
    name: 'device-taking-picture',
    says: 'Asking Ring',
    async visit(page, stage) {
      await visitQuiet(page, stage);
      await holdForms(page);
      await page.getByRole('button', { name: LATEST }).click();
    },
  },
  {
    name: 'live-view-running',
    example: 'device',
    says: /\d+ seconds left/,
    async visit(page, stage) {
      await visitNew(page, stage);
      await watch(page);
      await untilFrames(page);
    },
  },
  {
    name: 'live-view-ended',
    says: 'The live view is closed',
    async visit(page, stage) {
      await visitNew(page, stage);
      await watch(page);
      await untilFrames(page);
      await page.getByRole('button', { name: 'End live view' }).click();
    },
  },
  {
    name: 'live-view-refused',
    says: 'try again in a moment',
    async visit(page, stage) {
      await visitQuiet(page, stage);
      await stage.world.ring.setFaults([{ endpoint: 'whep-post', fault: { kind: 'status', status: 500 }, times: 1 }]);
      await watch(page);
      await untilSaid(page, 'Ring could not');
    },
  },
  {
    name: 'live-view-of-offline-device',
    says: 'power and Wi-Fi',
    async visit(page, stage) {
      await visitQuiet(page, stage);
      await stage.world.ring.setFaults([{ endpoint: 'whep-post', fault: { kind: 'status', status: 503 }, times: 1 }]);
      await watch(page);
      await untilSaid(page, 'offline');
    },
  },
];
