import { visitAs } from '../../support/clients/browser.js';
import type { Visitor } from '../../support/clients/visitor.js';
import { deliver, newEvent } from '../../support/clients/webhooks.js';
import { sharing } from '../../support/features/devices.js';
import { linkOn } from '../../support/features/events.js';
import { ago, eventful, eventless } from './people.js';
import type { Stage } from './stage.js';
import type { State } from './state.js';

const eventsOf =
  (visitor: (stage: Stage) => Promise<Visitor>, query = ''): State['visit'] =>
  async (page, stage) =>
    visitAs(page, await visitor(stage), `/events${query}`);

const quiet = async (stage: Stage): Promise<Visitor> => (await stage.quiet()).visitor;

/** Follows links on the page of events. */
const leaf =
  (...names: string[]): State['visit'] =>
  async (page, stage) => {
    const { visitor } = await stage.eventful();
    let address = '/events';
    for (const name of names) address = linkOn((await visitor.open(address)).text, name);
    await visitAs(page, visitor, address);
  };

/** The page of what was recorded an hour after linking: something that ended so many ms later, or nothing. */
const recording =
  ({ end }: { end?: number } = {}): State['visit'] =>
  async (page, { world }) => {
    const { visitor, ringUser, path } = await sharing(world);
    world.clock.advance(3_600);
    const at = world.clock.now().getTime();
    if (end !== undefined) await world.ring.record({ user_id: ringUser.id, start: at, end: at + end });
    world.clock.advance(3_600);
    await visitAs(page, visitor, `${path}/recordings/${at}`);
  };

export const EVENTS: State[] = [
  { name: 'events', example: 'events', visit: leaf() },
  {
    name: 'events-filtered',
    async visit(page, stage) {
      const { visitor, device } = await stage.eventful();
      await visitAs(page, visitor, `/events?device=${device.id}&kind=person`);
    },
  },
  { name: 'events-middle', says: 'Newer events', visit: leaf('Older events') },
  { name: 'events-last', visit: leaf('Older events', 'Older events') },
  {
    name: 'events-after-last',
    says: 'That was the oldest event',
    async visit(page, { world }) {
      const owner = await eventful(world, await sharing(world));
      await eventless(world, owner);
      const end = Buffer.from(JSON.stringify([0, '00000000-0000-0000-0000-000000000000'])).toString('base64url');
      await visitAs(page, owner.visitor, `/events?before=${end}`);
    },
  },
  {
    name: 'events-live',
    says: 'Somebody rang the doorbell',
    async visit(page, { world }) {
      const owner = await eventless(world, await sharing(world));
      const stream = page.waitForResponse(/\/events\/stream$/);
      await Promise.all([stream, visitAs(page, owner.visitor, '/events')]);
      const { ringUser, device } = owner;
      const timestamp = ago(world, 0).getTime();
      const event = newEvent({ accountId: ringUser.account_id, deviceId: device.id, timestamp });
      await deliver(world.url, JSON.stringify(event));
      await page.getByText('Somebody rang the doorbell').waitFor();
    },
  },
  { name: 'events-none', example: 'events', says: 'No events yet', visit: eventsOf(quiet) },
  { name: 'events-no-match', says: 'Choose something else', visit: eventsOf(quiet, '?kind=vehicle') },
  { name: 'events-no-link', says: 'Open the Ring app', visit: eventsOf((stage) => stage.newcomer()) },
  {
    name: 'events-no-devices',
    says: 'You choose them in the Ring app',
    visit: eventsOf((stage) => stage.linkedWith(`status = 'COMPLETED'`, [])),
  },
  {
    name: 'events-not-ready',
    says: 'home page',
    visit: eventsOf((stage) => stage.linkedWith(`status = 'REAUTH_REQUIRED'`)),
  },
  {
    name: 'events-missed',
    says: 'Something may be missing here',
    async visit(page, { world }) {
      const owner = await eventful(world, await sharing(world));
      await world.sql(
        `UPDATE device_histories SET missing_since = $2, missing_until = $3, read_since = $2, read_error = 'unavailable 503'
          WHERE account_id = $1`,
        [owner.ringUser.account_id, ago(world, 300), ago(world, 100)],
      );
      await visitAs(page, owner.visitor, '/events');
    },
  },
  {
    name: 'recording',
    example: 'recording',
    title: 'Recording',
    says: 'Ring has recorded 20 seconds of this minute.',
    visit: recording({ end: 20_000 }),
  },
  { name: 'recording-none', title: 'Recording', says: 'Nothing was recorded', visit: recording() },
];
