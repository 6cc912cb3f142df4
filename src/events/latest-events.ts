import type { Core } from '../core.js';
import type { UserDevice } from '../devices/user-devices.js';
import { eventView, type EventView, pathOfEvents } from './event-view.js';
import { listEvents } from './list-events.js';

const SHOWN = 5;

export interface LatestEventsView {
  events: EventView[];
  /** The address of the page with all of them. */
  href: string;
}

/** The newest events of all the user's devices, or of one. */
export async function latestEvents(
  core: Pick<Core, 'db' | 'clock' | 'coverage'>,
  userId: string,
  device?: UserDevice,
): Promise<LatestEventsView> {
  const filter = device && { accountId: device.accountId, deviceId: device.id };
  const { events } = await listEvents(core, userId, filter ?? {}, {}, SHOWN);
  return {
    // The page of a device need not name the device.
    events: events.map((event) => ({ ...eventView(event), ...(device !== undefined && { device: null }) })),
    href: pathOfEvents({ device: device?.id }),
  };
}
