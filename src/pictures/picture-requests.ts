import { randomUUID } from 'node:crypto';
import type { Knex } from 'knex';
import type { Core } from '../core.js';
import { row, rows, run, type Sql, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { MAY_HAVE_VIDEO } from '../devices/device-kind.js';
import type { UserDevice } from '../devices/user-devices.js';
import { type DeviceScope, inScope } from '../ring-accounts/device-scope.js';
import { type MissingOutcome, type PictureOutcome, storedOutcome } from './outcomes.js';

/**
 * A row of `picture_requests`: that a picture was asked for, and what came of it. All its transitions stand in this file. A
 * device has one for the latest picture, and one for each event whose picture was asked for.
 */
type RequestRow = Tables['picture_requests'];

/** A request that is waited for without end has lost its job to a mistake of ours. */
const LONGEST_WAIT_MS = 30 * 60_000;

/** A request as the page of its device, or of its event, shows it. */
export interface PictureRequest {
  status: RequestRow['status'];
  /** Null while it waits. */
  outcome: PictureOutcome | null;
  /** Of the picture, as long as it is kept. */
  pictureId: string | null;
  askedAt: Date;
}

export interface NewRequest {
  accountId: string;
  deviceId: string;
  /** Null for the latest picture. */
  eventId: string | null;
  now: Date;
}

/** How a request ended. */
export type End = { outcome: 'taken' | 'known'; pictureId: string } | { outcome: MissingOutcome; pictureId: null };

/** Notes a request of a user that has ended at once. It replaces the one before. */
export async function addEnded(trx: Knex.Transaction, request: NewRequest, end: End): Promise<void> {
  await replace(trx, randomUUID(), request, end);
}

/**
 * Notes a request of a user that has to wait. It replaces the one before.
 *
 * @returns its ID
 */
export async function addWaiting(trx: Knex.Transaction, request: NewRequest): Promise<string> {
  const id = randomUUID();
  await replace(trx, id, request, null);
  return id;
}

async function replace(
  trx: Knex.Transaction,
  id: string,
  { accountId, deviceId, eventId, now }: NewRequest,
  end: End | null,
): Promise<void> {
  const target =
    eventId === null
      ? sql`(account_id, device_id) WHERE event_id IS NULL`
      : sql`(account_id, device_id, event_id) WHERE event_id IS NOT NULL`;
  await run(
    trx,
    sql`INSERT INTO picture_requests (id, account_id, device_id, event_id, is_automatic, status, outcome, picture_id, asked_at)
        VALUES (${id}, ${accountId}, ${deviceId}, ${eventId}, false, ${end === null ? 'WAITING' : 'ENDED'},
                ${end?.outcome ?? null}, ${end?.pictureId ?? null}, ${now})
        ON CONFLICT ${target} DO UPDATE
           SET id = excluded.id, is_automatic = false, status = excluded.status, outcome = excluded.outcome,
               picture_id = excluded.picture_id, asked_at = excluded.asked_at`,
  );
}

/** The pictures that are waited for by themselves at once: of one device, and of all. Further events get theirs by a click. */
const MOST_OF_DEVICE = 5;
const MOST_OF_ALL = 1_000;

/** SQL: the number of automatic requests that wait, counted up to a limit. */
const waitingUpTo = (limit: number, condition: Sql, now: Date): Sql => sql`
  (SELECT count(*) FROM (SELECT 1 FROM picture_requests
                          WHERE status = 'WAITING' AND is_automatic AND ${condition}
                            AND asked_at > ${new Date(now.getTime() - LONGEST_WAIT_MS)} LIMIT ${limit}) AS waiting)`;

/** Those of the events, in their order, whose device gets pictures of events by itself. @returns their keys */
export async function withAutomaticPictures(
  trx: Knex.Transaction,
  events: readonly { requestId: string; accountId: string; deviceId: string }[],
): Promise<string[]> {
  const found = await rows<{ request_id: string }>(
    trx,
    sql`SELECT event.request_id
          FROM unnest(${events.map(({ requestId }) => requestId)}::uuid[],
                      ${events.map(({ accountId }) => accountId)}::text[],
                      ${events.map(({ deviceId }) => deviceId)}::text[])
               WITH ORDINALITY AS event (request_id, account_id, device_id, place)
          JOIN devices AS device ON device.account_id = event.account_id AND device.id = event.device_id
         WHERE device.has_event_pictures ORDER BY event.place`,
  );
  return found.map(({ request_id }) => request_id);
}

/**
 * Asks for the picture of an event by itself, where the device's user has switched that on. The event must be recorded.
 *
 * @returns the request's ID; undefined when the picture is not wanted, was asked for before, or too many wait already
 */
export async function addAutomatic(
  trx: Knex.Transaction,
  { accountId, deviceId, eventId, now }: NewRequest & { eventId: string },
): Promise<string | undefined> {
  const added = await row<{ id: string }>(
    trx,
    sql`INSERT INTO picture_requests (id, account_id, device_id, event_id, is_automatic, status, asked_at)
        SELECT ${randomUUID()}::uuid, device.account_id, device.id, event.request_id, true, 'WAITING', ${now}
          FROM devices AS device
          JOIN device_events AS event ON event.request_id = ${eventId} AND event.device_id = device.id
         WHERE device.account_id = ${accountId} AND device.id = ${deviceId} AND device.has_event_pictures AND ${MAY_HAVE_VIDEO}
           AND device.removed_at IS NULL AND device.uncovered_since IS NULL
           AND ${waitingUpTo(MOST_OF_ALL, sql`true`, now)} < ${MOST_OF_ALL}
           AND ${waitingUpTo(MOST_OF_DEVICE, sql`account_id = device.account_id AND device_id = device.id`, now)}
               < ${MOST_OF_DEVICE}
        ON CONFLICT DO NOTHING
        RETURNING id`,
  );
  return added?.id;
}

/** A request that waits, with the moment of its event. */
export interface WaitingRequest {
  accountId: string;
  deviceId: string;
  /** Null for the latest picture. */
  moment: Date | null;
  isAutomatic: boolean;
  askedAt: Date;
}

/** @returns undefined when it has ended, was replaced, or was erased */
export function findWaiting(db: Knex, id: string): Promise<WaitingRequest | undefined> {
  return row<WaitingRequest>(
    db,
    sql`SELECT request.account_id AS "accountId", request.device_id AS "deviceId", event.occurred_at AS moment,
               request.is_automatic AS "isAutomatic", request.asked_at AS "askedAt"
          FROM picture_requests AS request LEFT JOIN device_events AS event ON event.request_id = request.event_id
         WHERE request.id = ${id} AND request.status = 'WAITING'
           AND (request.event_id IS NULL OR event.request_id IS NOT NULL)`,
  );
}

/** @returns false when it has ended already, was replaced, or was erased */
export async function endWaiting(on: Knex, id: string, { outcome, pictureId }: End): Promise<boolean> {
  const ended = await run(
    on,
    sql`UPDATE picture_requests SET status = 'ENDED', outcome = ${outcome}, picture_id = ${pictureId}
         WHERE id = ${id} AND status = 'WAITING'`,
  );
  return ended > 0;
}

/** What came of the request for the latest picture of a device, or for that of an event. */
export async function requestOf(
  db: Knex,
  { accountId, id: deviceId }: UserDevice,
  eventId: string | null,
  now: Date,
): Promise<PictureRequest | undefined> {
  const found = await row<Omit<PictureRequest, 'outcome'> & { outcome: string | null }>(
    db,
    sql`SELECT status, outcome, asked_at AS "askedAt",
               (SELECT id FROM snapshots WHERE id = request.picture_id) AS "pictureId"
          FROM picture_requests AS request
         WHERE account_id = ${accountId} AND device_id = ${deviceId} AND event_id IS NOT DISTINCT FROM ${eventId}::uuid
           AND (status = 'ENDED' OR asked_at > ${new Date(now.getTime() - LONGEST_WAIT_MS)})`,
  );
  return found && { ...found, outcome: found.outcome === null ? null : storedOutcome(found.outcome) };
}

export async function eraseRequests(trx: Knex.Transaction, scope: DeviceScope): Promise<void> {
  await run(trx, sql`DELETE FROM picture_requests WHERE ${inScope(scope)}`);
}

const RETENTION_MS = 90 * 86_400_000;

/** Purges requests of more than 90 days ago: the events are gone by then, too. */
export async function purgePictureRequests({ db, clock }: Pick<Core, 'db' | 'clock'>): Promise<void> {
  const oldest = new Date(clock().getTime() - RETENTION_MS);
  await run(db, sql`DELETE FROM picture_requests WHERE asked_at < ${oldest}`);
}
