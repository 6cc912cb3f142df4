import { type Request, type Response, Router } from 'express';
import type { Knex } from 'knex';
import { z } from 'zod';
import type { Core } from '../core.js';
import { row, sql } from '../database/sql.js';
import { type ListedDevice, listDevices } from '../devices/device-list.js';
import { nameOfDevice } from '../devices/device-view.js';
import { noSuchDevice } from '../devices/no-such-device.js';
import { HttpError, methodNotAllowed } from '../http/errors.js';
import { limitCaller, type RateLimits } from '../http/rate-limits.js';
import { render } from '../http/render.js';
import { seeOther } from '../http/see-other.js';
import { isLive, isUsable } from '../ring-accounts/link-conditions.js';
import { csrfToken } from '../users/csrf.js';
import { signedInOrHome, userIdOf } from '../users/current-user.js';
import { Cursor, writeCursor } from './event-cursor.js';
import { EVENT_KINDS, type EventKind } from './event-kinds.js';
import { eventView, type EventsAddress, type EventView, pathOfEvents } from './event-view.js';
import { type EventFilter, type EventPage, type EventPlace, listEvents } from './list-events.js';
import { missedTimesOn, type MissedTimeView } from './missed-time.js';

declare module '../http/render.js' {
  interface Views {
    events: NeighboursView & {
      title: string;
      csrfToken: string;
      events: EventView[];
      missed: MissedTimeView[];
      empty: Empty | null;
      filter: FilterView | null;
      isNewest: boolean;
    };
  }
}

/** The choices that narrow the list down. */
export interface FilterView {
  devices: Choice[];
  kinds: Choice[];
  /** Whether it is narrowed down. */
  isSet: boolean;
}

interface Choice {
  id: string;
  name: string;
  isChosen: boolean;
}

/** The addresses of the pages on both sides of this one; null where there is none. */
interface NeighboursView {
  newer: string | null;
  older: string | null;
}

export interface EventsPageDependencies extends Pick<Core, 'db' | 'clock' | 'coverage'> {
  limits: RateLimits;
}

const PAGE_SIZE = 25;

const KINDS = Object.keys(EVENT_KINDS) as EventKind[];

/** The form sends a choice that was not made as an empty text. */
const unlessEmpty = (value: unknown): unknown => (value === '' ? undefined : value);

const Query = z
  .object({
    device: z.preprocess(unlessEmpty, z.string().optional()),
    kind: z.preprocess(unlessEmpty, z.enum(KINDS).optional()),
    before: Cursor.optional(),
    after: Cursor.optional(),
  })
  .refine(({ before, after }) => before === undefined || after === undefined);

/** The user's events, newest first, of all devices and kinds or of some. */
export function eventsPage(dependencies: EventsPageDependencies): Router {
  const { db, limits } = dependencies;
  const router = Router();
  const route = router.route('/events');
  route.get(limitCaller(limits.visit), signedInOrHome, async (request: Request, response: Response) => {
    const userId = userIdOf(request);
    const { device, kind, ...place } = readQuery(request);
    const devices = (await listDevices(db, userId)).filter(({ isShared }) => isShared);
    if (device !== undefined && !devices.some(({ id }) => id === device)) {
      throw noSuchDevice();
    }
    const filter: EventFilter = { deviceId: device, kind };
    const page = await listEvents(dependencies, userId, filter, place, PAGE_SIZE);
    // The way back to newer events ends at the beginning of the list, where the page is full and kept up to date.
    if (place.after !== undefined && !page.hasMore) {
      seeOther(response, pathOfEvents({ device, kind }));
      return;
    }
    render(response, 'events', {
      title: 'Events',
      csrfToken: await csrfToken(request),
      events: page.events.map(eventView),
      missed: await missedTimesOn(dependencies, userId, filter, page, place),
      empty: page.events.length > 0 ? null : await whyEmpty(db, userId, devices, { device, kind, ...place }),
      // Without devices there is nothing to choose among.
      filter: devices.length === 0 ? null : filterView(devices, filter),
      isNewest: place.before === undefined && place.after === undefined,
      ...neighboursView(page, { device, kind }, place),
    });
  });
  route.all(methodNotAllowed('GET', 'HEAD'));
  return router;
}

/** @throws {HttpError} 400 */
function readQuery(request: Request): z.output<typeof Query> {
  const query = Query.safeParse(request.query);
  if (query.success) return query.data;
  throw new HttpError(400, 'This address is not complete. Open your events again from your home page.');
}

function filterView(devices: ListedDevice[], { deviceId, kind }: EventFilter): FilterView {
  return {
    devices: devices.map(({ id, name }) => ({ id, name: nameOfDevice(name), isChosen: id === deviceId })),
    kinds: KINDS.map((id) => ({ id, name: EVENT_KINDS[id].filter, isChosen: id === kind })),
    isSet: deviceId !== undefined || kind !== undefined,
  };
}

function neighboursView(
  { events, hasMore }: EventPage,
  filter: EventsAddress,
  { before, after }: EventPlace,
): NeighboursView {
  const [newest, oldest] = [events[0], events.at(-1)];
  const hasNewer = before !== undefined || after !== undefined;
  const hasOlder = after !== undefined || hasMore;
  return {
    newer: newest && hasNewer ? pathOfEvents({ ...filter, after: writeCursor(newest) }) : null,
    older: oldest && hasOlder ? pathOfEvents({ ...filter, before: writeCursor(oldest) }) : null,
  };
}

/** Why there is no event to show. */
export type Empty = 'no-link' | 'link-not-ready' | 'no-devices' | 'no-match' | 'no-older' | 'no-events';

async function whyEmpty(
  db: Knex,
  userId: string,
  devices: ListedDevice[],
  { device, kind, before }: z.output<typeof Query>,
): Promise<Empty> {
  if (devices.length === 0) {
    const links = await row<{ isUsable: boolean | null; isLive: boolean | null }>(
      db,
      sql`SELECT bool_or(${isUsable()}) AS "isUsable", bool_or(${isLive()}) AS "isLive"
            FROM account_links WHERE user_id = ${userId}`,
    );
    if (links?.isUsable === true) return 'no-devices';
    return links?.isLive === true ? 'link-not-ready' : 'no-link';
  }
  if (before !== undefined) return 'no-older';
  return device !== undefined || kind !== undefined ? 'no-match' : 'no-events';
}
