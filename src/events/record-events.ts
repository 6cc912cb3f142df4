import { createHash } from 'node:crypto';
import type { Knex } from 'knex';
import type { Core } from '../core.js';
import { columnsOf, row, rows, run, type Sql, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { IS_RECORDED, RECORDED_TYPES, type RecordedType } from '../devices/recorded-events.js';
import type { UserDevice } from '../devices/user-devices.js';
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

/** SQL: tells the pages of the user who may see the events of a Ring account that these have changed. */
export const tellPages = (accountId: string): Sql =>
  sql`SELECT pg_notify(${EVENTS_CHANNEL}, user_id::text) FROM account_links WHERE account_id = ${accountId} AND ${isUsable()}`;

/** How far around an event the others are paired anew, in ms: many events in a row can be within reach of each other. */
const PAIRED_ANEW_MS = 60_000;

/**
 * Records an event and tells the pages that show it. An event from before the device's removal is not recorded, because
 * those were erased, and stay so when the device is back. An event from after the removal may mean that the device is back and
 * we were not told: then Ring is asked.
 *
 * An event that Ring's history has told of becomes the webhook's: its key, its time and its subtype. The caller holds the
 * account's lock, as {@link mergeHistory} does.
 *
 * @returns the events that have got another key by that
 */
export async function recordDeviceEvent(trx: Knex.Transaction, event: DeviceEvent): Promise<RenamedEvent[]> {
  const { requestId, accountId, deviceId, type, subtype, occurredAt } = event;
  const inserted = columnsOf<'device_events'>({
    request_id: requestId,
    account_id: accountId,
    device_id: deviceId,
    type,
    subtype: subtype ?? null,
    occurred_at: occurredAt,
  });
  const recorded = await row<{ was_removed: boolean; is_near_history: boolean }>(
    trx,
    sql`INSERT INTO device_events (${inserted.names}) SELECT ${inserted.values}
         WHERE NOT EXISTS (SELECT 1 FROM devices
                            WHERE account_id = ${accountId} AND id = ${deviceId}
                              AND greatest(removed_at, void_before) >= ${occurredAt})
        ON CONFLICT (request_id) DO NOTHING
        RETURNING EXISTS (SELECT 1 FROM devices
                           WHERE account_id = ${accountId} AND id = ${deviceId} AND removed_at IS NOT NULL) AS was_removed,
                  ${IS_RECORDED} AND EXISTS (
                    SELECT 1 FROM device_events AS other
                     WHERE other.account_id = ${accountId} AND other.device_id = ${deviceId}
                       AND other.history_id IS NOT NULL
                       AND other.occurred_at BETWEEN ${around(occurredAt, -1)} AND ${around(occurredAt, 1)}
                  ) AS is_near_history,
                  (${tellPages(accountId)})`,
  );
  if (recorded?.was_removed === true) await refetchDevice(trx, { accountId, deviceId, occurredAt });
  if (recorded?.is_near_history !== true) return [];
  return pairAnew(trx, { accountId, deviceId }, type as RecordedType, [occurredAt], []);
}

/** An event that only the history had told of, and that a webhook tells now. */
export interface RenamedEvent {
  formerId: string;
  id: string;
}

const around = (time: Date, direction: 1 | -1): Date => new Date(time.getTime() + direction * PAIRED_ANEW_MS);

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
  for (const type of RECORDED_TYPES) {
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

/**
 * Pairs the events around some times anew, together with what the history tells for the first time.
 *
 * @returns the events that have got another key by that
 */
async function pairAnew(
  trx: Knex.Transaction,
  device: RecordingDevice,
  type: RecordedType,
  times: readonly Date[],
  fresh: readonly EntryReport[],
): Promise<RenamedEvent[]> {
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

  const webhookOf = new Map([...pairs].map(([entry, webhook]) => [entry.id, webhook.id]));
  return lost.flatMap(({ request_id: formerId, history_id: historyId }) => {
    const id = webhookOf.get(historyId ?? '');
    return id === undefined ? [] : [{ formerId, id }];
  });
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
  const { names, values } = columnsOf<'device_events'>({
    request_id: sql`entry.key`,
    account_id: accountId,
    device_id: deviceId,
    type,
    occurred_at: sql`entry.at`,
    history_id: sql`entry.id`,
    history_start: sql`entry.at`,
    is_only_in_history: true,
  });
  return run(
    trx,
    sql`INSERT INTO device_events (${names}) SELECT ${values}
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

/**
 * The key of an event that a webhook has told, by the one that it had while only the history had told of it.
 *
 * @returns undefined when no event had that one
 */
export async function presentIdOf(
  db: Knex,
  { accountId, id: deviceId }: UserDevice,
  formerId: string,
): Promise<string | undefined> {
  const former = formerId.toLowerCase();
  const told = await rows<{ request_id: string; history_id: string }>(
    db,
    sql`SELECT request_id, history_id FROM device_events
         WHERE account_id = ${accountId} AND device_id = ${deviceId} AND history_id IS NOT NULL AND NOT is_only_in_history`,
  );
  return told.find(({ history_id }) => keyOf(accountId, deviceId, history_id) === former)?.request_id;
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
