import type { Knex } from 'knex';
import { row, rows, run, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { IS_RECORDED } from '../devices/recorded-events.js';
import { enqueue, jobKey } from '../jobs/enqueue.js';
import { consentOf } from '../ring-accounts/consent.js';
import { type DeviceScope, inScope } from '../ring-accounts/device-scope.js';

/**
 * A row of `device_histories`: how far Ring's history of a device is merged into its events. All its transitions stand in
 * this file. The row is made when Ring has told of the device; time is noted as missed, and no longer once it was read.
 */
type HistoryRow = Tables['device_histories'];

/** The job that reads the history of a device for the time that was missed. */
export const READ_HISTORY = 'read_history';

interface Device {
  accountId: string;
  deviceId: string;
}

export const historyKeyOf = ({ accountId, deviceId }: Device): string => jobKey(READ_HISTORY, accountId, deviceId);

/** Has the history read of a device that is new, since its user shared it with us. The link must be usable. */
export async function beginHistory(trx: Knex.Transaction, device: Device, now: Date): Promise<void> {
  const { accountId, deviceId } = device;
  const begun = await row(
    trx,
    sql`SELECT 1 FROM device_histories WHERE account_id = ${accountId} AND device_id = ${deviceId}`,
  );
  const consent = begun === undefined ? await consentOf(trx, accountId) : undefined;
  if (consent === undefined) return;
  await run(
    trx,
    sql`INSERT INTO device_histories (account_id, device_id, missing_since, missing_until, read_since)
        VALUES (${accountId}, ${deviceId}, ${consent}, ${now}, ${consent}) ON CONFLICT DO NOTHING`,
  );
  await enqueueReading(trx, device);
}

/**
 * Notes that events of all devices of a Ring account may be missing, and has their histories read back to the newest event
 * that was known by then. A reading that is under way begins anew.
 *
 * @param lostSince null: since the user shared the devices
 */
export async function noteMissedTime(
  trx: Knex.Transaction,
  accountId: string,
  lostSince: Date | null,
  now: Date,
): Promise<void> {
  const consent = (await consentOf(trx, accountId)) ?? null;
  const since = lostSince ?? consent;
  if (since === null) return;
  const newestKnown = sql`(
    SELECT max(occurred_at) FROM device_events AS event
     WHERE event.account_id = history.account_id AND event.device_id = history.device_id
       AND ${IS_RECORDED} AND occurred_at <= ${since})`;
  const noted = await rows<Pick<HistoryRow, 'device_id'>>(
    trx,
    sql`UPDATE device_histories AS history
           SET missing_since = greatest(least(missing_since, ${since}), ${consent}), missing_until = ${now},
               read_since = greatest(least(read_since, coalesce(${newestKnown}, ${consent}, ${since})), ${consent}),
               next_page = NULL
         WHERE account_id = ${accountId} RETURNING device_id`,
  );
  for (const { device_id: deviceId } of noted) await enqueueReading(trx, { accountId, deviceId });
}

const enqueueReading = (trx: Knex.Transaction, device: Device): Promise<void> =>
  enqueue(trx, READ_HISTORY, { ...device, attempt: 1 }, { key: historyKeyOf(device) });

/** What is to be read of a device's history. */
export type Reading = Pick<HistoryRow, 'next_page'> & {
  [Column in 'missing_since' | 'missing_until' | 'read_since']: NonNullable<HistoryRow[Column]>;
};

const COLUMNS = sql`missing_since, missing_until, read_since, next_page`;

/** Undefined when nothing is to be read (any more). */
export function findReading(on: Knex, { accountId, deviceId }: Device): Promise<Reading | undefined> {
  return row<Reading>(
    on,
    sql`SELECT ${COLUMNS} FROM device_histories
         WHERE account_id = ${accountId} AND device_id = ${deviceId} AND missing_since IS NOT NULL`,
  );
}

/** As {@link findReading}, and locks the row. The caller holds the account's lock. */
export function lockReading(trx: Knex.Transaction, { accountId, deviceId }: Device): Promise<Reading | undefined> {
  return row<Reading>(
    trx,
    sql`SELECT ${COLUMNS} FROM device_histories
         WHERE account_id = ${accountId} AND device_id = ${deviceId} AND missing_since IS NOT NULL FOR UPDATE`,
  );
}

/** Notes the page that is to be read next; null begins anew. */
export async function turnPage(on: Knex, { accountId, deviceId }: Device, nextPage: string | null): Promise<void> {
  await run(
    on,
    sql`UPDATE device_histories SET next_page = ${nextPage}
         WHERE account_id = ${accountId} AND device_id = ${deviceId} AND missing_since IS NOT NULL`,
  );
}

/** Notes that nothing is missing any more. */
export async function endReading(trx: Knex.Transaction, { accountId, deviceId }: Device): Promise<void> {
  await run(
    trx,
    sql`UPDATE device_histories
           SET missing_since = NULL, missing_until = NULL, read_since = NULL, next_page = NULL, read_error = NULL
         WHERE account_id = ${accountId} AND device_id = ${deviceId}`,
  );
}

/** Notes why Ring did not tell the history. From then on, the page of events says that something may be missing. */
export async function noteReadError(db: Knex, { accountId, deviceId }: Device, error: string): Promise<void> {
  await run(
    db,
    sql`UPDATE device_histories SET read_error = ${error}
         WHERE account_id = ${accountId} AND device_id = ${deviceId} AND missing_since IS NOT NULL`,
  );
}

/** Ends readings of a time whose events would be purged by now. */
export async function giveUpReadingsBefore(db: Knex, oldest: Date): Promise<void> {
  await run(
    db,
    sql`UPDATE device_histories
           SET missing_since = NULL, missing_until = NULL, read_since = NULL, next_page = NULL, read_error = NULL
         WHERE missing_until < ${oldest}`,
  );
}

export async function eraseHistories(trx: Knex.Transaction, scope: DeviceScope): Promise<void> {
  await run(trx, sql`DELETE FROM device_histories WHERE ${inScope(scope)}`);
}
