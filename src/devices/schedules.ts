import type { Knex } from 'knex';
import { rows } from '../database/database.js';
import type { UserDevice } from './user-devices.js';

/** How often, and for a daily one when: a time of the wall clock in a time zone. */
export type Schedule = { frequency: 'HOURLY' } | { frequency: 'DAILY'; timeOfDay: string; timeZone: string };

export interface ScheduledOperation {
  id: string;
  frequency: 'HOURLY' | 'DAILY';
  /** HH:MM */
  timeOfDay: string | null;
  timeZone: string | null;
  status: 'ACTIVE' | 'PAUSED';
  pauseReason: 'OFFLINE' | 'USER' | null;
  nextRunAt: Date | null;
  lastRunAt: Date | null;
  lastError: string | null;
}

export const MAX_OPERATIONS_OF_DEVICE = 10;

/** SQL: a row named `present` whose one column is the time that the next run comes after. Binds that time. */
const PRESENT = '(SELECT ?::timestamptz AS moment) present';

/**
 * SQL: when an operation runs next, strictly after `present.moment`; reads the columns of the table by their names.
 *
 * Hourly: in whole hours since it was made, so that it neither drifts nor has every device asked at the full hour. Daily:
 * once for each date of its time zone. A time that the clocks skip in spring is taken as before the change, so that 02:30
 * becomes 03:30; of a time that they show twice in autumn, it is the second.
 */
const NEXT_RUN = `
  CASE frequency
    WHEN 'HOURLY' THEN
      created_at + (floor(extract(epoch FROM present.moment - created_at) / 3600) + 1) * interval '1 hour'
    WHEN 'DAILY' THEN
      (SELECT min(run)
         FROM generate_series(0, 1) day,
              LATERAL (SELECT ((present.moment AT TIME ZONE time_zone)::date + day + time_of_day)
                              AT TIME ZONE time_zone AS run) candidate
        WHERE run > present.moment)
  END`;

const COLUMNS = `id, frequency, to_char(time_of_day, 'HH24:MI') AS "timeOfDay", time_zone AS "timeZone", status,
                 pause_reason AS "pauseReason", next_run_at AS "nextRunAt", last_run_at AS "lastRunAt",
                 last_error AS "lastError"`;

/** The schedules of a device, oldest first. */
export function operationsOf(database: Knex, { linkId, id }: UserDevice): Promise<ScheduledOperation[]> {
  return rows<ScheduledOperation>(
    database,
    `SELECT ${COLUMNS} FROM scheduled_operations WHERE link_id = ? AND device_id = ? ORDER BY created_at, id`,
    [linkId, id],
  );
}

/**
 * Pauses what is scheduled for a device that went offline, in the caller's transaction; a picture that is under way is not
 * stored. The caller must have changed (and so locked) the device's row in this transaction before: otherwise an
 * operation that is made at this moment is missed.
 */
export async function pauseOperations(trx: Knex, accountId: string, deviceId: string): Promise<void> {
  await trx.raw(
    `UPDATE scheduled_operations SET status = 'PAUSED', pause_reason = 'OFFLINE', next_run_at = NULL
      WHERE account_id = ? AND device_id = ? AND status = 'ACTIVE'`,
    [accountId, deviceId],
  );
}

/**
 * Lets what was paused because the device was offline go on, in the caller's transaction, with the next run that comes
 * after `now`: what was missed is not made up for. As {@link pauseOperations}, after the device's row.
 */
export async function resumeOperations(trx: Knex, accountId: string, deviceId: string, now: Date): Promise<void> {
  await trx.raw(
    `UPDATE scheduled_operations SET status = 'ACTIVE', pause_reason = NULL, next_run_at = ${NEXT_RUN}
       FROM ${PRESENT}
      WHERE account_id = ? AND device_id = ? AND status = 'PAUSED' AND pause_reason = 'OFFLINE'`,
    [now, accountId, deviceId],
  );
}

/**
 * Deletes what is scheduled for an account, or for one device of it, in the caller's transaction; a picture that is under
 * way is not stored. As {@link pauseOperations}, after the rows of the devices or of the link, which must be locked first.
 */
export async function cancelOperations(trx: Knex, accountId: string, deviceId?: string): Promise<void> {
  const [condition, bindings] =
    deviceId === undefined
      ? ['account_id = ?', [accountId]]
      : ['account_id = ? AND device_id = ?', [accountId, deviceId]];
  await trx.raw(`DELETE FROM scheduled_operations WHERE ${condition}`, bindings);
}
