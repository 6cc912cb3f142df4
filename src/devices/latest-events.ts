import type { Knex } from 'knex';
import { describeEvent, pathOfEvents } from './describe-event.js';
import { listEvents } from './event-list.js';

const SHOWN = 5;

/** What `partials/latest-events` shows: the newest events of all the user's devices, or of one. */
export async function latestEvents(database: Knex, userId: string, deviceId?: string) {
  const { events } = await listEvents(database, userId, { deviceId }, {}, SHOWN);
  return {
    // On the page of a device nobody has to be told which.
    events: events.map((event) => ({ ...describeEvent(event), ...(deviceId !== undefined && { device: null }) })),
    href: pathOfEvents({ device: deviceId }),
  };
}
