import type { Knex } from 'knex';
import { rows } from '../database/database.js';
import type { EventCursor } from './event-cursor.js';
import { type EventKind, KIND_OF_EVENT } from './event-kinds.js';
import { SHARED_DEVICES } from '../devices/user-devices.js';

/** An event of a device that the user shares with us. */
export interface ListedEvent extends EventCursor {
  kind: EventKind;
  /** Ring's */
  deviceId: string;
  /** Null until Ring has told it. */
  deviceName: string | null;
}

export interface EventFilter {
  /** Of two Ring accounts with a device of the same ID, this one's. */
  accountId?: string | undefined;
  deviceId?: string | undefined;
  kind?: EventKind | undefined;
}

/** Where a page begins: at the newest event, or next to a place, on the older or the newer side of it. */
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
 * A page of the user's events of all devices, newest first. A page begins at a place and not at a number, so what arrives
 * meanwhile moves nothing from one page to another.
 */
export async function listEvents(
  db: Knex,
  userId: string,
  { accountId, deviceId, kind }: EventFilter,
  { before, after }: EventPlace,
  size: number,
): Promise<EventPage> {
  const [comparison, order] = after === undefined ? ['<', 'DESC'] : ['>', 'ASC'];
  const place = after ?? before;
  // Of each device as many as the page may want, along the index; then the newest of all.
  const found = await rows<ListedEvent>(
    db,
    `SELECT event.request_id AS "requestId", event.occurred_at AS "occurredAt", event.kind, device.id AS "deviceId",
            device.name AS "deviceName"
       FROM ${SHARED_DEVICES}
      CROSS JOIN LATERAL
            (SELECT request_id, occurred_at, ${KIND_OF_EVENT} AS kind
               FROM device_events
              WHERE account_id = device.account_id AND device_id = device.id
                ${place === undefined ? '' : `AND (occurred_at, request_id) ${comparison} (?, ?)`}
                AND (?::text IS NULL OR ${KIND_OF_EVENT} = ?)
              ORDER BY occurred_at ${order}, request_id ${order} LIMIT ?) event
      WHERE link.user_id = ? AND device.account_id = coalesce(?, device.account_id)
        AND device.id = coalesce(?, device.id)
      ORDER BY event.occurred_at ${order}, event.request_id ${order} LIMIT ?`,
    [
      ...(place === undefined ? [] : [place.occurredAt, place.requestId]),
      ...[kind ?? null, kind ?? null, size + 1],
      ...[userId, accountId ?? null, deviceId ?? null, size + 1],
    ],
  );
  const events = found.slice(0, size);
  return { events: after === undefined ? events : events.reverse(), hasMore: found.length > size };
}
