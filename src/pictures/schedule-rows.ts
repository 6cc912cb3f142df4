import { randomUUID } from 'node:crypto';
import type { Knex } from 'knex';
import { rows, run, type Sql, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import type { UserDevice } from '../devices/user-devices.js';
import { type DeviceKey, type DeviceScope, inScope, these } from '../ring-accounts/device-scope.js';
import type { PictureOutcome } from './outcomes.js';

/** A schedule's row. All its transitions stand in this file. */
type ScheduleRow = Tables['scheduled_operations'];

/** How often, and for a daily schedule when: a time of the wall clock in a time zone. */
export type Recurrence = { frequency: 'HOURLY' } | { frequency: 'DAILY'; timeOfDay: string; timeZone: string };

/**
 * SQL: when a schedule runs next, strictly after `moment`; reads the columns of the table by their names.
 *
 * Hourly: in whole hours since it was made, so that it neither drifts nor has every device asked at the full hour. Daily:
 * once for each date of its time zone. A time that the clocks skip in spring is taken as before the change, so that 02:30
 * becomes 03:30. A time that they show twice in autumn means the second.
 */
const nextRunAfter = (moment: Date): Sql => sql`
  CASE frequency
    WHEN 'HOURLY' THEN
      created_at + (floor(extract(epoch FROM ${moment}::timestamptz - created_at) / 3600) + 1) * interval '1 hour'
    WHEN 'DAILY' THEN
      (SELECT min(run)
         FROM generate_series(0, 1) day,
              LATERAL (SELECT ((${moment}::timestamptz AT TIME ZONE time_zone)::date + day + time_of_day)
                              AT TIME ZONE time_zone AS run) candidate
        WHERE run > ${moment}::timestamptz)
  END`;

/** SQL: Postgres knows the time zone. It did when the schedule was made, but names go away. */
const HAS_KNOWN_ZONE = sql`(time_zone IS NULL OR time_zone IN (SELECT name FROM pg_timezone_names))`;

/** SQL: a schedule that its user chose on the page of a device. */
const isOf = ({ linkId, id: deviceId }: UserDevice, scheduleId: string): Sql =>
  sql`id = ${scheduleId} AND link_id = ${linkId} AND device_id = ${deviceId}`;

/** Adds a schedule for a device, which the caller has locked. While the device is offline, it starts out paused. */
export async function addSchedule(
  trx: Knex.Transaction,
  userId: string,
  { id: deviceId, accountId, linkId, online }: UserDevice,
  recurrence: Recurrence,
  now: Date,
): Promise<void> {
  const id = randomUUID();
  const isDaily = recurrence.frequency === 'DAILY';
  await trx('scheduled_operations').insert({
    id,
    user_id: userId,
    link_id: linkId,
    account_id: accountId,
    device_id: deviceId,
    kind: 'SNAPSHOT',
    frequency: recurrence.frequency,
    time_of_day: isDaily ? recurrence.timeOfDay : null,
    time_zone: isDaily ? recurrence.timeZone : null,
    status: 'PAUSED',
    pause_reason: 'OFFLINE',
    created_at: now,
  });
  if (online !== false) await activateWhere(trx, sql`id = ${id}`, now);
}

/** Pauses a schedule for its user, until the user wants it to go on. */
export async function pauseByUser(db: Knex, device: UserDevice, scheduleId: string): Promise<void> {
  await run(
    db,
    sql`UPDATE scheduled_operations SET status = 'PAUSED', pause_reason = 'USER', next_run_at = NULL
         WHERE ${isOf(device, scheduleId)}`,
  );
}

/** Ends a user's pause. The schedule then waits for its device to be online, which the caller has locked. */
export async function awaitDevice(trx: Knex.Transaction, device: UserDevice, scheduleId: string): Promise<void> {
  await run(
    trx,
    sql`UPDATE scheduled_operations SET pause_reason = 'OFFLINE'
         WHERE ${isOf(device, scheduleId)} AND pause_reason = 'USER'`,
  );
}

/**
 * Pauses the active schedules of devices that went offline, in the caller's transaction. A picture that is under way is
 * not stored. The caller must have changed (and so locked) the devices' rows in this transaction before: otherwise a
 * schedule that is made at this moment is missed.
 */
export async function pauseOffline(trx: Knex.Transaction, devices: readonly DeviceKey[]): Promise<void> {
  await run(
    trx,
    sql`UPDATE scheduled_operations SET status = 'PAUSED', pause_reason = 'OFFLINE', next_run_at = NULL
         WHERE (account_id, device_id) IN ${these(devices)} AND status = 'ACTIVE'`,
  );
}

/**
 * Lets the schedules of devices that were paused because these were offline go on, in the caller's transaction. The next run
 * is the first one after `now`: missed runs are not made up for. As with {@link pauseOffline}, the device's row comes first.
 */
export async function resumeOnline(trx: Knex.Transaction, devices: readonly DeviceKey[], now: Date): Promise<void> {
  await activateWhere(trx, sql`(account_id, device_id) IN ${these(devices)}`, now);
}

/**
 * Pauses the schedules of a device that lost its subscription, in the caller's transaction. Those that its user has paused
 * stay so. As with {@link pauseOffline}, the device's row comes first.
 */
export async function pauseUncovered(trx: Knex.Transaction, accountId: string, deviceId: string): Promise<void> {
  await run(
    trx,
    sql`UPDATE scheduled_operations SET status = 'PAUSED', pause_reason = 'SUBSCRIPTION', next_run_at = NULL
         WHERE account_id = ${accountId} AND device_id = ${deviceId}
           AND (status = 'ACTIVE' OR pause_reason = 'OFFLINE')`,
  );
}

/** Lets the schedules of a device go on that is covered again, at once or as soon as it is online. */
export async function resumeCovered(
  trx: Knex.Transaction,
  { accountId, id: deviceId, online }: Pick<UserDevice, 'accountId' | 'id' | 'online'>,
  now: Date,
): Promise<void> {
  await run(
    trx,
    sql`UPDATE scheduled_operations SET pause_reason = 'OFFLINE'
         WHERE account_id = ${accountId} AND device_id = ${deviceId} AND pause_reason = 'SUBSCRIPTION'`,
  );
  if (online !== false) await resumeOnline(trx, [{ accountId, deviceId }], now);
}

async function activateWhere(trx: Knex.Transaction, condition: Sql, now: Date): Promise<void> {
  await run(
    trx,
    sql`UPDATE scheduled_operations SET status = 'ACTIVE', pause_reason = NULL, next_run_at = ${nextRunAfter(now)}
         WHERE ${condition} AND status = 'PAUSED' AND pause_reason = 'OFFLINE' AND ${HAS_KNOWN_ZONE}`,
  );
}

/**
 * Moves schedules that are due on to their next run. A schedule that is being changed at this moment is left to the next
 * tick.
 *
 * @returns those that were due, `limit` at most
 */
export function advanceDue(trx: Knex.Transaction, now: Date, limit: number): Promise<Pick<ScheduleRow, 'id'>[]> {
  return rows(
    trx,
    sql`WITH due AS (SELECT id AS due_id FROM scheduled_operations
                      WHERE status = 'ACTIVE' AND next_run_at <= ${now} AND ${HAS_KNOWN_ZONE}
                      ORDER BY next_run_at LIMIT ${limit} FOR UPDATE SKIP LOCKED)
        UPDATE scheduled_operations SET next_run_at = ${nextRunAfter(now)} FROM due WHERE id = due_id RETURNING id`,
  );
}

/**
 * Notes how a run of a schedule ended.
 *
 * @param end `error`, for operators: why it brought no picture; null when it brought one
 * @returns false when the schedule is not active any more
 */
export async function recordRun(
  trx: Knex.Transaction,
  scheduleId: string,
  { outcome, error }: { outcome: PictureOutcome; error: string | null },
  now: Date,
): Promise<boolean> {
  const recorded = await run(
    trx,
    sql`UPDATE scheduled_operations SET last_run_at = ${now}, last_outcome = ${outcome}, last_error = ${error}
         WHERE id = ${scheduleId} AND status = 'ACTIVE'`,
  );
  return recorded > 0;
}

/** Deletes a schedule for its user. One that is gone already is left alone. */
export async function deleteSchedule(db: Knex, device: UserDevice, scheduleId: string): Promise<void> {
  await run(db, sql`DELETE FROM scheduled_operations WHERE ${isOf(device, scheduleId)}`);
}

/**
 * Erases the schedules of a Ring account, or of one device of it, in the caller's transaction. A picture that is under way
 * is not stored. The rows of the devices (or of the link) must be locked first, as with {@link pauseOffline}.
 */
export async function eraseSchedules(trx: Knex.Transaction, scope: DeviceScope): Promise<void> {
  await run(trx, sql`DELETE FROM scheduled_operations WHERE ${inScope(scope)}`);
}

export async function eraseSchedulesOfUser(trx: Knex.Transaction, userId: string): Promise<void> {
  await run(trx, sql`DELETE FROM scheduled_operations WHERE user_id = ${userId}`);
}
