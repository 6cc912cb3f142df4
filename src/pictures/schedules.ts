import { randomUUID } from 'node:crypto';
import type { Knex } from 'knex';
import type { Core } from '../core.js';
import { row, rows, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { mayHaveVideo } from '../devices/device-kind.js';
import { lockDeviceOfUser, type UserDevice } from '../devices/user-devices.js';
import { type PictureOutcome, storedOutcome } from './outcomes.js';
import { addSchedule, advanceDue, awaitDevice, type Recurrence, resumeOnline } from './schedule-rows.js';
import { enqueuePicture } from './scheduled-picture.js';

type ScheduleRow = Tables['scheduled_operations'];

/** When pictures of a device are fetched, as its user may see it. */
export interface Schedule {
  id: ScheduleRow['id'];
  frequency: ScheduleRow['frequency'];
  /** HH:MM */
  timeOfDay: string | null;
  timeZone: ScheduleRow['time_zone'];
  pauseReason: ScheduleRow['pause_reason'];
  nextRunAt: ScheduleRow['next_run_at'];
  /** How the last run ended; null before the first one. */
  lastOutcome: PictureOutcome | null;
}

export const MAX_SCHEDULES_OF_DEVICE = 10;

/** How many schedules one transaction starts. */
const BATCH = 100;

/** The schedules of a device, oldest first. */
export async function schedulesOf(db: Knex, { linkId, id }: UserDevice): Promise<Schedule[]> {
  const found = await rows<Omit<Schedule, 'lastOutcome'> & { lastOutcome: string | null }>(
    db,
    sql`SELECT id, frequency, to_char(time_of_day, 'HH24:MI') AS "timeOfDay", time_zone AS "timeZone",
               pause_reason AS "pauseReason", next_run_at AS "nextRunAt",
               coalesce(last_outcome, CASE WHEN last_error IS NOT NULL THEN 'failed' END) AS "lastOutcome"
          FROM scheduled_operations WHERE link_id = ${linkId} AND device_id = ${id} ORDER BY created_at, id`,
  );
  return found.map((schedule) => ({
    ...schedule,
    lastOutcome: schedule.lastOutcome === null ? null : storedOutcome(schedule.lastOutcome),
  }));
}

/**
 * Schedules pictures of a device. While the device is offline the schedule is paused from the beginning.
 *
 * @param recurrence its time zone is known to this process
 * @returns `unknown-zone` when Postgres, which reckons with it, does not know it; `no-video` when the device has no camera;
 *   `no-device` when it is not the user's (any more); `uncovered` when it lacks a subscription
 */
export async function createSchedule(
  { db, coverage }: Pick<Core, 'db' | 'coverage'>,
  { userId, deviceId }: { userId: string; deviceId: string },
  recurrence: Recurrence,
  now: Date,
): Promise<'created' | 'full' | 'unknown-zone' | 'no-video' | 'no-device' | 'uncovered'> {
  const spelled = await spellTimeZone(db, recurrence);
  if (spelled === undefined) return 'unknown-zone';
  return db.transaction(async (trx) => {
    // The lock has two that arrive together counted one after the other, and lets none outlive its device.
    const device = await lockDeviceOfUser(trx, userId, deviceId);
    if (device === undefined) return 'no-device';
    if (!mayHaveVideo(device)) return 'no-video';
    if (!(await coverage.isCovered(trx, { accountId: device.accountId, deviceId }, now))) return 'uncovered';
    if ((await schedulesOf(trx, device)).length >= MAX_SCHEDULES_OF_DEVICE) return 'full';
    await addSchedule(trx, userId, device, spelled, now);
    return 'created';
  });
}

/** Spells a time zone as Postgres does, which reckons with it. @returns undefined when Postgres does not know it */
async function spellTimeZone(db: Knex, recurrence: Recurrence): Promise<Recurrence | undefined> {
  if (recurrence.frequency === 'HOURLY') return recurrence;
  const known = await row<{ name: string }>(
    db,
    sql`SELECT name FROM pg_timezone_names WHERE lower(name) = lower(${recurrence.timeZone}) LIMIT 1`,
  );
  return known && { ...recurrence, timeZone: known.name };
}

/**
 * Lets a schedule go on that its user had paused: at once, or as soon as the device is online.
 *
 * @returns `uncovered`, with the pause left as it is, when the device lacks a subscription
 */
export async function resumeSchedule(
  { db, coverage }: Pick<Core, 'db' | 'coverage'>,
  { userId, deviceId }: { userId: string; deviceId: string },
  scheduleId: string,
  now: Date,
): Promise<'resumed' | 'no-device' | 'uncovered'> {
  return db.transaction(async (trx) => {
    // The lock keeps the device from going offline or away just now.
    const device = await lockDeviceOfUser(trx, userId, deviceId);
    if (device === undefined) return 'no-device';
    const { accountId, id, online } = device;
    if (!(await coverage.isCovered(trx, { accountId, deviceId: id }, now))) return 'uncovered';
    await awaitDevice(trx, device, scheduleId);
    if (online !== false) await resumeOnline(trx, [{ accountId, deviceId: id }], now);
    return 'resumed';
  });
}

/**
 * Starts each due schedule once, however long it has been due. Any number of instances may do it at once: each schedule is
 * started by one of them, in the transaction that says when it runs next.
 */
export async function startDueSchedules({ db, clock }: Pick<Core, 'db' | 'clock'>): Promise<void> {
  const now = clock();
  let started: number;
  do {
    started = await db.transaction(async (trx) => {
      const due = await advanceDue(trx, now, BATCH);
      for (const { id } of due) await enqueuePicture(trx, { operationId: id, snapshotId: randomUUID(), attempt: 1 });
      return due.length;
    });
  } while (started === BATCH);
}
