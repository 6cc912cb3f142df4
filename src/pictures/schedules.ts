import { randomUUID } from 'node:crypto';
import type { Knex } from 'knex';
import { row, rows } from '../database/database.js';
import { enqueueSnapshot } from './scheduled-picture.js';
import { bindScope, type DeviceScope, IN_SCOPE } from '../ring-accounts/device-scope.js';
import { lockDeviceOfUser, type UserDevice } from '../devices/user-devices.js';
import type { Core } from '../core.js';

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

/** How many operations one transaction starts. */
const BATCH = 100;

/** SQL: a row named `present`, whose one column is the time that the next run comes after. Binds that time. */
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

/** SQL: Postgres can reckon with it. It could when this was made, but names go away. */
const HAS_KNOWN_ZONE = '(time_zone IS NULL OR time_zone IN (SELECT name FROM pg_timezone_names))';

const COLUMNS = `id, frequency, to_char(time_of_day, 'HH24:MI') AS "timeOfDay", time_zone AS "timeZone", status,
                 pause_reason AS "pauseReason", next_run_at AS "nextRunAt", last_run_at AS "lastRunAt",
                 last_error AS "lastError"`;

/** The schedules of a device, oldest first. */
export function operationsOf(db: Knex, { linkId, id }: UserDevice): Promise<ScheduledOperation[]> {
  return rows<ScheduledOperation>(
    db,
    `SELECT ${COLUMNS} FROM scheduled_operations WHERE link_id = ? AND device_id = ? ORDER BY created_at, id`,
    [linkId, id],
  );
}

/**
 * Schedules pictures of a device. While the device is offline the schedule is paused from the beginning.
 *
 * @param schedule its time zone is known to this process
 * @returns `unknown-zone` when Postgres, which reckons with it, does not know it; `no-device` when the device is not the
 *   user's (any more)
 */
export async function createOperation(
  db: Knex,
  { userId, deviceId }: { userId: string; deviceId: string },
  schedule: Schedule,
  now: Date,
): Promise<'created' | 'full' | 'unknown-zone' | 'no-device'> {
  const timeOfDay = schedule.frequency === 'DAILY' ? schedule.timeOfDay : null;
  const timeZone = schedule.frequency === 'DAILY' ? await spellTimeZone(db, schedule.timeZone) : null;
  if (timeZone === undefined) return 'unknown-zone';
  return db.transaction(async (trx) => {
    // Locked, so that two that arrive together are counted one after the other, and none outlives its device.
    const device = await lockDeviceOfUser(trx, userId, deviceId);
    if (device === undefined) return 'no-device';
    const { accountId, linkId } = device;
    if ((await operationsOf(trx, device)).length >= MAX_OPERATIONS_OF_DEVICE) return 'full';
    await trx.raw(
      `INSERT INTO scheduled_operations (id, user_id, link_id, account_id, device_id, kind, frequency, time_of_day,
                                         time_zone, status, next_run_at, created_at)
       SELECT ?, ?, ?, ?, ?, 'SNAPSHOT', frequency, time_of_day, time_zone, 'ACTIVE', ${NEXT_RUN}, created_at
         FROM (SELECT ?::text AS frequency, ?::time AS time_of_day, ?::text AS time_zone,
                      ?::timestamptz AS created_at) made, ${PRESENT}`,
      [randomUUID(), userId, linkId, accountId, device.id, schedule.frequency, timeOfDay, timeZone, now, now],
    );
    if (device.online === false) await pauseOperations(trx, accountId, device.id);
    return 'created';
  });
}

/** As Postgres, which reckons with it, spells a time zone; undefined when it does not know it. */
async function spellTimeZone(db: Knex, timeZone: string): Promise<string | undefined> {
  const known = await row<{ name: string }>(
    db,
    'SELECT name FROM pg_timezone_names WHERE lower(name) = lower(?) LIMIT 1',
    [timeZone],
  );
  return known?.name;
}

/** Ends a schedule of a device. One that has ended already is left alone. */
export async function deleteOperation(db: Knex, { linkId, id }: UserDevice, operationId: string): Promise<void> {
  await db.raw('DELETE FROM scheduled_operations WHERE id = ? AND link_id = ? AND device_id = ?', [
    operationId,
    linkId,
    id,
  ]);
}

/** Pauses a schedule of a device for its user, until the user wants it to go on. */
export async function pauseOperation(db: Knex, { linkId, id }: UserDevice, operationId: string): Promise<void> {
  await db.raw(
    `UPDATE scheduled_operations SET status = 'PAUSED', pause_reason = 'USER', next_run_at = NULL
      WHERE id = ? AND link_id = ? AND device_id = ?`,
    [operationId, linkId, id],
  );
}

/** Lets a schedule go on that its user had paused: at once, or as soon as the device is online. */
export async function resumeOperation(
  db: Knex,
  { userId, deviceId }: { userId: string; deviceId: string },
  operationId: string,
  now: Date,
): Promise<void> {
  await db.transaction(async (trx) => {
    // Locked, so that it does not go offline or away just now.
    const device = await lockDeviceOfUser(trx, userId, deviceId);
    if (device === undefined) return;
    await trx.raw(
      `UPDATE scheduled_operations SET pause_reason = 'OFFLINE'
        WHERE id = ? AND link_id = ? AND device_id = ? AND pause_reason = 'USER'`,
      [operationId, device.linkId, device.id],
    );
    if (device.online !== false) await resumeOperations(trx, device.accountId, device.id, now);
  });
}

/**
 * Starts what is due, once, however long it has been due. Any number of instances may do it at once: each operation is
 * started by one of them, in the transaction that says when it runs next. One that is just being changed is left to the
 * next tick.
 */
export async function startDueOperations({ db, clock }: Pick<Core, 'db' | 'clock'>): Promise<void> {
  const now = clock();
  let started: number;
  do {
    started = await db.transaction((trx) => startBatch(trx, now));
  } while (started === BATCH);
}

async function startBatch(trx: Knex, now: Date): Promise<number> {
  const due = await rows<{ id: string }>(
    trx,
    `WITH due AS (SELECT id AS due_id FROM scheduled_operations WHERE status = 'ACTIVE' AND next_run_at <= ? AND ${HAS_KNOWN_ZONE}
                   ORDER BY next_run_at LIMIT ${BATCH} FOR UPDATE SKIP LOCKED)
     UPDATE scheduled_operations SET next_run_at = ${NEXT_RUN} FROM due, ${PRESENT} WHERE id = due_id RETURNING id`,
    [now, now],
  );
  for (const { id } of due) await enqueueSnapshot(trx, { operationId: id, snapshotId: randomUUID(), attempt: 1 });
  return due.length;
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
      WHERE account_id = ? AND device_id = ? AND status = 'PAUSED' AND pause_reason = 'OFFLINE'
        AND ${HAS_KNOWN_ZONE}`,
    [now, accountId, deviceId],
  );
}

/**
 * Deletes what is scheduled for an account, or for one device of it, in the caller's transaction; a picture that is under
 * way is not stored. As {@link pauseOperations}, after the rows of the devices or of the link, which must be locked first.
 */
export async function cancelOperations(trx: Knex, scope: DeviceScope): Promise<void> {
  await trx.raw(`DELETE FROM scheduled_operations WHERE ${IN_SCOPE}`, bindScope(scope));
}
