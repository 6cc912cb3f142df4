import type { Knex } from 'knex';
import { z } from 'zod';
import type { Core } from '../core.js';
import { row, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { MAY_HAVE_VIDEO } from '../devices/device-kind.js';
import { LOCK_SHARED, SHARED_DEVICES } from '../devices/user-devices.js';
import { enqueue } from '../jobs/enqueue.js';
import type { RingPicture } from '../ring/media.js';
import { NoLinkError } from '../tokens/errors.js';
import type { FetchDependencies } from './fetch-picture.js';
import { DAYS_FOR_A_SCHEDULE, type LookedUp, lookUp } from './look-up.js';
import { addPicture } from './pictures.js';
import { pauseBeforeRetry } from './retry.js';
import { recordRun } from './schedule-rows.js';

/** The job that fetches one scheduled picture. */
export const TAKE_PICTURE = 'take_snapshot';

/**
 * One run of a schedule: its payload, in which a schedule is an operation and a picture a snapshot. The picture's ID is
 * chosen before, so that a run that is repeated brings no second one.
 */
const Run = z.object({ operationId: z.uuid(), snapshotId: z.uuid(), attempt: z.number().int().min(1) });
type Run = z.output<typeof Run>;

type ReadySchedule = Pick<Tables['scheduled_operations'], 'link_id' | 'account_id' | 'device_id'>;

/** Adds a run of a schedule. It replaces the run before, if that still waits. */
export async function enqueuePicture(trx: Knex.Transaction, run: Run, delayMs = 0): Promise<void> {
  await enqueue(trx, TAKE_PICTURE, run, { key: `${TAKE_PICTURE}:${run.operationId}`, delayMs });
}

/**
 * Fetches the latest picture for one run. Before Ring is asked and again before the picture is stored, the schedule must be
 * active and its device shared and covered: a schedule that is paused or deleted in between brings no picture.
 */
export async function takeScheduledPicture(dependencies: FetchDependencies, payload: unknown): Promise<void> {
  const run = Run.parse(payload);
  const { db, clock, log, onPicture } = dependencies;
  const schedule = await findReady(dependencies, run);
  if (schedule === undefined) return;

  const wish = { accountId: schedule.account_id, deviceId: schedule.device_id, moment: null };
  let found: LookedUp;
  try {
    found = await lookUp(dependencies, wish, DAYS_FOR_A_SCHEDULE);
  } catch (error) {
    if (error instanceof NoLinkError) return;
    throw error;
  }
  if (found.kind === 'missing') {
    const { operationId, attempt } = run;
    log.info({ err: found.error, outcome: found.outcome, operationId, attempt }, 'a schedule has brought no picture');
    await recordMissing(db, run, found, clock());
    onPicture(found.outcome);
    return;
  }
  onPicture(await store(dependencies, run, schedule, found.picture));
}

function findReady(
  { db, clock, coverage }: Pick<Core, 'db' | 'clock' | 'coverage'>,
  { operationId, snapshotId }: Run,
): Promise<ReadySchedule | undefined> {
  return row<ReadySchedule>(
    db,
    sql`SELECT schedule.link_id, schedule.account_id, schedule.device_id
          FROM scheduled_operations schedule JOIN (${SHARED_DEVICES})
            ON link.id = schedule.link_id AND device.id = schedule.device_id
         WHERE schedule.id = ${operationId} AND schedule.status = 'ACTIVE' AND device.online IS NOT FALSE
           AND ${MAY_HAVE_VIDEO}
           AND NOT EXISTS (SELECT 1 FROM snapshots WHERE id = ${snapshotId})
           AND ${coverage.covers({ accountId: sql`device.account_id`, deviceId: sql`device.id` }, clock())}`,
  );
}

async function store(
  { db, clock, coverage }: Pick<Core, 'db' | 'clock' | 'coverage'>,
  { operationId, snapshotId }: Run,
  { link_id, account_id, device_id }: ReadySchedule,
  picture: RingPicture,
): Promise<'taken' | 'known' | 'uncovered'> {
  const now = clock();
  return db.transaction(async (trx) => {
    // The device comes first, as in a removal of it. The lock is exclusive: of two transactions that add a picture at
    // once, each would miss the other's when it counts.
    const device = await row<Pick<Tables['devices'], 'pictures_deleted_until'>>(
      trx,
      sql`SELECT device.pictures_deleted_until FROM ${SHARED_DEVICES}
           WHERE link.id = ${link_id} AND device.id = ${device_id} ${LOCK_SHARED}`,
    );
    if (device === undefined) return 'known';
    if (!(await coverage.isCovered(trx, { accountId: account_id, deviceId: device_id }, now))) return 'uncovered';
    if (!(await recordRun(trx, operationId, { outcome: 'taken', error: null }, now))) return 'known';
    const { pictures_deleted_until: deletedUntil } = device;
    if (deletedUntil !== null && picture.takenAt <= deletedUntil) return 'known';
    const { isNew } = await addPicture(trx, {
      id: snapshotId,
      accountId: account_id,
      deviceId: device_id,
      picture,
      now,
    });
    return isNew ? 'taken' : 'known';
  });
}

/** Notes why a run brought no picture, and asks again if that may pass soon. */
async function recordMissing(
  db: Knex,
  run: Run,
  found: Extract<LookedUp, { kind: 'missing' }>,
  now: Date,
): Promise<void> {
  await db.transaction(async (trx) => {
    const { outcome, error } = found;
    const isActive = await recordRun(trx, run.operationId, { outcome, error: error?.reason ?? outcome }, now);
    const pauseMs = pauseBeforeRetry(found, run.attempt);
    if (!isActive || pauseMs === undefined) return;
    await enqueuePicture(trx, { ...run, attempt: run.attempt + 1 }, pauseMs);
  });
}
