import type { Core } from '../core.js';
import { rows, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { MAY_HAVE_VIDEO } from '../devices/device-kind.js';
import { SHARED_DEVICES } from '../devices/user-devices.js';
import type { EventCursor } from './event-cursor.js';
import { type EventKind, KIND_OF_EVENT } from './event-kinds.js';

/** An event of a device that the user shares with us. */
export interface ListedEvent extends EventCursor {
  kind: EventKind;
  /** Ring's */
  deviceId: Tables['devices']['id'];
  /** Null until Ring has told it. */
  deviceName: Tables['devices']['name'];
  /** Whether what its device has recorded, if anything, can be shown. */
  canBeShown: boolean;
  /** The ID of its picture, if one is kept and can be shown. */
  pictureId: Tables['snapshots']['id'] | null;
}

export interface EventFilter {
  /** The Ring account, for two of them may have a device of the same ID. */
  accountId?: string | undefined;
  deviceId?: string | undefined;
  kind?: EventKind | undefined;
}

/** The place where a page begins: at the newest event, or next to a cursor, on the older or the newer side of it. */
export interface EventPlace {
  before?: EventCursor | undefined;
  after?: EventCursor | undefined;
}

export interface EventPage {
  /** Newest first. */
  events: ListedEvent[];
  /** Whether there are more in the direction of reading: after `after` newer ones, else older ones. */
  hasMore: boolean;
}

/**
 * A page of the user's events of all devices, newest first. A page begins at a place and not at a number, so events that
 * arrive meanwhile move nothing from one page to another.
 */
export async function listEvents(
  { db, clock, coverage }: Pick<Core, 'db' | 'clock' | 'coverage'>,
  userId: string,
  { accountId, deviceId, kind }: EventFilter,
  { before, after }: EventPlace,
  size: number,
): Promise<EventPage> {
  const [comparison, order] = after === undefined ? [sql`<`, sql`DESC`] : [sql`>`, sql`ASC`];
  const place = after ?? before;
  const inPlace =
    place === undefined
      ? sql``
      : sql`AND (occurred_at, request_id) ${comparison} (${place.occurredAt}, ${place.requestId})`;
  const ofKind = kind === undefined ? sql`` : sql`AND ${KIND_OF_EVENT} = ${kind}`;
  const isCovered = coverage.covers({ accountId: sql`device.account_id`, deviceId: sql`device.id` }, clock());
  // Each device gives as many as the page may want, along the index; of all these the newest are taken.
  const found = await rows<ListedEvent>(
    db,
    sql`SELECT event.request_id AS "requestId", event.occurred_at AS "occurredAt", event.kind, device.id AS "deviceId",
               device.name AS "deviceName", ${MAY_HAVE_VIDEO} AND ${isCovered} AS "canBeShown",
               CASE WHEN ${isCovered} THEN
                 (SELECT picture.id FROM picture_requests AS request JOIN snapshots AS picture ON picture.id = request.picture_id
                   WHERE request.account_id = device.account_id AND request.device_id = device.id
                     AND request.event_id = event.request_id)
               END AS "pictureId"
          FROM ${SHARED_DEVICES}
         CROSS JOIN LATERAL
               (SELECT request_id, occurred_at, ${KIND_OF_EVENT} AS kind
                  FROM device_events
                 WHERE account_id = device.account_id AND device_id = device.id ${inPlace} ${ofKind}
                 ORDER BY occurred_at ${order}, request_id ${order} LIMIT ${size + 1}) event
         WHERE link.user_id = ${userId} AND device.account_id = coalesce(${accountId ?? null}, device.account_id)
           AND device.id = coalesce(${deviceId ?? null}, device.id)
         ORDER BY event.occurred_at ${order}, event.request_id ${order} LIMIT ${size + 1}`,
  );
  const events = found.slice(0, size);
  return { events: after === undefined ? events : events.reverse(), hasMore: found.length > size };
}
