import { createHash } from 'node:crypto';
import type { Knex } from 'knex';
import type { Core } from '../core.js';
import { rows, run, type Sql, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { onBehalfOf } from '../request-id.js';
import { type DeviceScope, inScope } from '../ring-accounts/device-scope.js';
import { isUsable } from '../ring-accounts/link-conditions.js';
import { refetchDevice } from '../ring-accounts/refetch.js';
import { giveUpReadingsBefore } from './history-rows.js';
import { pairReports } from './pair-reports.js';

export interface DeviceEvent {
  requestId: string;
  accountId: string;
  deviceId: string;
  type: string;
  subtype?: string | undefined;
  occurredAt: Date;
}

/**
 * The channel on which Postgres tells of recorded events, once they are committed. The payload is the ID of the user who
 * may see them.
 */
export const EVENTS_CHANNEL = 'device_events';

/** SQL: tells the pages of the users who may see the events of Ring accounts that these have changed. */
export const tellPages = (...accountIds: string[]): Sql => sql`
  SELECT pg_notify(${EVENTS_CHANNEL}, user_id::text) FROM account_links
   WHERE account_id = ANY (${accountIds}::text[]) AND ${isUsable()}`;

/** The webhooks that tell of what Ring's history tells of, too. */
export type RecordedType = 'motion_detected' | 'button_press';
const IS_IN_HISTORY = sql`type IN ('motion_detected', 'button_press')`;

/** How far around an event the others are paired anew, in ms: many events in a row can be within reach of each other. */
const PAIRED_ANEW_MS = 60_000;

/**
 * Records events in their order and tells the pages that show them. An event from before its device's removal is not recorded,
 * because those were erased. An event from after it may mean that the device is back and we were not told: then Ring is asked.
 *
 * An event that Ring's history has told of becomes the webhook's: its key, its time and its subtype. The caller holds the
 * accounts' locks, as {@link mergeHistory} does.
 */
export async function recordDeviceEvents(trx: Knex.Transaction, events: readonly DeviceEvent[]): Promise<void> {
  const recorded = await rows<RecordedRow>(
    trx,
    sql`INSERT INTO device_events (request_id, account_id, device_id, type, subtype, occurred_at)
        SELECT told.request_id, told.account_id, told.device_id, told.type, told.subtype, told.occurred_at
          FROM unnest(${events.map(({ requestId }) => requestId)}::uuid[],
                      ${events.map(({ accountId }) => accountId)}::text[],
                      ${events.map(({ deviceId }) => deviceId)}::text[],
                      ${events.map(({ type }) => type)}::text[],
                      ${events.map(({ subtype }) => subtype ?? null)}::text[],
                      ${events.map(({ occurredAt }) => occurredAt)}::timestamptz[])
               WITH ORDINALITY AS told (request_id, account_id, device_id, type, subtype, occurred_at, place)
         WHERE NOT EXISTS (SELECT 1 FROM devices
                            WHERE account_id = told.account_id AND id = told.device_id
                              AND removed_at >= told.occurred_at)
         ORDER BY told.place
        ON CONFLICT (request_id) DO NOTHING
        RETURNING request_id, account_id,
                  EXISTS (SELECT 1 FROM devices
                           WHERE account_id = device_events.account_id AND id = device_id
                             AND removed_at IS NOT NULL) AS was_removed,
                  ${IS_IN_HISTORY} AND EXISTS (
                    SELECT 1 FROM device_events AS other
                     WHERE other.account_id = device_events.account_id AND other.device_id = device_events.device_id
                       AND other.history_id IS NOT NULL
                       AND other.occurred_at BETWEEN device_events.occurred_at - ${PAIRED_ANEW_MS} * interval '1 ms'
                                                 AND device_events.occurred_at + ${PAIRED_ANEW_MS} * interval '1 ms'
                  ) AS is_near_history`,
  );
  if (recorded.length === 0) return;
  await run(trx, tellPages(...new Set(recorded.map(({ account_id }) => account_id))));
  const byId = new Map(recorded.map((row) => [row.request_id, row]));
  for (const event of events) {
    const row = byId.get(event.requestId);
    if (row !== undefined) await onBehalfOf(event.requestId, () => followUp(trx, event, row));
  }
}

type RecordedRow = Pick<Tables['device_events'], 'request_id' | 'account_id'> & {
  was_removed: boolean;
  is_near_history: boolean;
};

async function followUp(trx: Knex.Transaction, event: DeviceEvent, recorded: RecordedRow): Promise<void> {
  const { accountId, deviceId, type, occurredAt } = event;
  if (recorded.was_removed) await refetchDevice(trx, { accountId, deviceId, occurredAt });
  if (!recorded.is_near_history) return;
  await pairAnew(trx, { accountId, deviceId }, type as RecordedType, [occurredAt], []);
}

/** An event as Ring's history tells it. */
export interface HistoryEntry {
  historyId: string;
  type: RecordedType;
  startedAt: Date;
}

/**
 * Merges what Ring's history tells of a device into its events: what a webhook has told is one event with it, and the rest is
 * added. The caller holds the account's lock, as the handlers of webhooks do, so it does not matter which comes first. Merging
 * the same again changes nothing.
 */
export async function mergeHistory(
  trx: Knex.Transaction,
  device: RecordingDevice,
  entries: readonly HistoryEntry[],
): Promise<void> {
  const merged = await rows<{ history_id: string }>(
    trx,
    sql`SELECT history_id FROM device_events
         WHERE account_id = ${device.accountId} AND device_id = ${device.deviceId}
           AND history_id = ANY (${entries.map(({ historyId }) => historyId)}::text[])`,
  );
  const known = new Set(merged.map(({ history_id }) => history_id));
  for (const type of ['motion_detected', 'button_press'] as const) {
    const fresh = new Map(
      entries.filter((entry) => entry.type === type && !known.has(entry.historyId)).map((one) => [one.historyId, one]),
    );
    const reports = [...fresh.values()].map(({ historyId, startedAt }) => ({ id: historyId, at: startedAt }));
    const times = reports.map(({ at }) => at);
    if (reports.length > 0) await pairAnew(trx, device, type, times, reports);
  }
}

interface RecordingDevice {
  accountId: string;
  deviceId: string;
}

interface EntryReport {
  /** Ring's ID of the event in its history. */
  id: string;
  at: Date;
}

type EventRow = Pick<
  Tables['device_events'],
  'request_id' | 'occurred_at' | 'history_id' | 'history_start' | 'is_only_in_history'
>;

/** Pairs the events around some times anew, together with what the history tells for the first time. */
async function pairAnew(
  trx: Knex.Transaction,
  device: RecordingDevice,
  type: RecordedType,
  times: readonly Date[],
  fresh: readonly EntryReport[],
): Promise<void> {
  const { accountId, deviceId } = device;
  const known = await rows<EventRow>(
    trx,
    sql`SELECT DISTINCT request_id, occurred_at, history_id, history_start, is_only_in_history
          FROM unnest(${times}::timestamptz[]) AS told (at)
          JOIN device_events AS event
            ON event.account_id = ${accountId} AND event.device_id = ${deviceId} AND event.type = ${type}
           AND event.occurred_at BETWEEN told.at - ${PAIRED_ANEW_MS} * interval '1 ms'
                                     AND told.at + ${PAIRED_ANEW_MS} * interval '1 ms'`,
  );
  const webhooks = known
    .filter((one) => !one.is_only_in_history)
    .map((one) => ({ id: one.request_id, at: one.occurred_at, entryId: one.history_id }));
  const entries = [
    ...known.flatMap(({ history_id: id, history_start: at }) => (id === null || at === null ? [] : [{ id, at }])),
    ...fresh,
  ];
  const pairs = pairReports(webhooks, entries);
  const changed = [...pairs].filter(([entry, webhook]) => webhook.entryId !== entry.id);
  const kept = new Set([...pairs].filter(([entry, webhook]) => webhook.entryId === entry.id).map(([, { id }]) => id));
  const alone = new Map(entries.filter((entry) => !pairs.has(entry)).map((entry) => [entry.id, entry]));
  const standing = known.filter((one) => one.is_only_in_history && alone.has(one.history_id ?? ''));
  const lost = known.filter((one) => one.is_only_in_history && !alone.has(one.history_id ?? ''));
  for (const one of standing) alone.delete(one.history_id ?? '');

  await removeFromHistory(trx, {
    deleted: lost.map(({ request_id }) => request_id),
    freed: webhooks.filter(({ id, entryId }) => entryId !== null && !kept.has(id)).map(({ id }) => id),
  });
  await joinHistory(trx, changed);
  const added = await addFromHistory(trx, device, type, [...alone.values()]);
  if (added + lost.length > 0) await run(trx, tellPages(accountId));
}

/** Deletes rows that only the history has told of, and takes the history's part from others. */
async function removeFromHistory(
  trx: Knex.Transaction,
  { deleted, freed }: { deleted: readonly string[]; freed: readonly string[] },
): Promise<void> {
  if (deleted.length > 0) await run(trx, sql`DELETE FROM device_events WHERE request_id = ANY (${deleted}::uuid[])`);
  if (freed.length === 0) return;
  await run(
    trx,
    sql`UPDATE device_events SET history_id = NULL, history_start = NULL WHERE request_id = ANY (${freed}::uuid[])`,
  );
}

/** Notes that events which webhooks have told are in the history, too. */
async function joinHistory(trx: Knex.Transaction, pairs: readonly [EntryReport, { id: string }][]): Promise<void> {
  if (pairs.length === 0) return;
  await run(
    trx,
    sql`UPDATE device_events AS event SET history_id = pair.history_id, history_start = pair.history_start
          FROM unnest(${pairs.map(([, webhook]) => webhook.id)}::uuid[],
                      ${pairs.map(([entry]) => entry.id)}::text[],
                      ${pairs.map(([entry]) => entry.at)}::timestamptz[])
               AS pair (request_id, history_id, history_start)
         WHERE event.request_id = pair.request_id`,
  );
}

/** Adds events that only the history has told of, unless the device was removed since. @returns how many were added */
async function addFromHistory(
  trx: Knex.Transaction,
  { accountId, deviceId }: RecordingDevice,
  type: RecordedType,
  entries: readonly EntryReport[],
): Promise<number> {
  if (entries.length === 0) return 0;
  return run(
    trx,
    sql`INSERT INTO device_events (request_id, account_id, device_id, type, occurred_at,
                                   history_id, history_start, is_only_in_history)
        SELECT entry.key, ${accountId}, ${deviceId}, ${type}, entry.at, entry.id, entry.at, true
          FROM unnest(${entries.map(({ id }) => keyOf(accountId, deviceId, id))}::uuid[],
                      ${entries.map(({ id }) => id)}::text[],
                      ${entries.map(({ at }) => at)}::timestamptz[]) AS entry (key, id, at)
         WHERE EXISTS (SELECT 1 FROM devices
                        WHERE account_id = ${accountId} AND id = ${deviceId} AND removed_at IS NULL
                          AND (void_before IS NULL OR void_before < entry.at))
        ON CONFLICT (request_id) DO NOTHING`,
  );
}

/** The key of an event that only the history has told of: a UUID of version 8, always the same for the same event. */
function keyOf(accountId: string, deviceId: string, historyId: string): string {
  const hex = createHash('sha256')
    .update(JSON.stringify([accountId, deviceId, historyId]))
    .digest('hex');
  const variant = ((parseInt(hex.slice(15, 16), 16) & 0x3) | 0x8).toString(16);
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(12, 15)}`,
    `${variant}${hex.slice(16, 19)}`,
    hex.slice(19, 31),
  ].join('-');
}

/** Erases the events of devices, and tells the pages that show them. The link must still stand, or no page is told. */
export async function eraseDeviceEvents(trx: Knex.Transaction, scope: DeviceScope): Promise<void> {
  await run(trx, sql`DELETE FROM device_events WHERE ${inScope(scope)}`);
  await run(trx, tellPages(scope.accountId));
}

/** Events are kept for this long, in ms. */
export const RETENTION_MS = 90 * 86_400_000;

/** Purges events that happened more than 90 days ago, and gives up reading histories of that time. */
export async function purgeDeviceEvents({ db, clock }: Pick<Core, 'db' | 'clock'>): Promise<void> {
  const oldest = new Date(clock().getTime() - RETENTION_MS);
  await run(db, sql`DELETE FROM device_events WHERE occurred_at < ${oldest}`);
  await giveUpReadingsBefore(db, oldest);
}
