import type { Knex } from 'knex';
import { z } from 'zod';
import type { Core } from '../core.js';
import { row, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { LOCK_SHARED, SHARED_DEVICES } from '../devices/user-devices.js';
import { enqueue } from '../jobs/enqueue.js';
import { refetchDevice } from '../ring-accounts/refetch.js';
import { isGone, RingError, type RingErrorKind } from '../ring/errors.js';
import type { EncryptedMedia, RingPicture } from '../ring/media.js';
import { retryPauseMs } from '../time/retry-pause.js';
import { NoLinkError } from '../tokens/errors.js';
import { lookUpLatest } from './look-up.js';
import { addPicture } from './pictures.js';
import { recordRun } from './schedule-rows.js';

/** The job that takes one scheduled picture. */
export const TAKE_PICTURE = 'take_snapshot';

export interface ScheduledPictureDependencies extends Pick<
  Core,
  'db' | 'ring' | 'tokens' | 'clock' | 'log' | 'linkClockSkewSeconds' | 'coverage'
> {
  /** Hears of each picture that Ring was asked for, whether or not the schedule still wanted it. */
  onSnapshot: (outcome: 'taken' | 'failed') => void;
}

/**
 * One run of a schedule: its payload, in which a schedule is an operation and a picture a snapshot. The picture's ID is
 * chosen before, so that a run that is repeated brings no second one.
 */
const Run = z.object({ operationId: z.uuid(), snapshotId: z.uuid(), attempt: z.number().int().min(1) });
type Run = z.output<typeof Run>;

/** Some 30 s in all. A failure that lasts longer is left to the next run. */
const MAX_ATTEMPTS = 6;
const MAX_PAUSE_MS = 60_000;
const MAY_PASS: ReadonlySet<RingErrorKind> = new Set(['unavailable', 'no-answer', 'rate-limited', 'unreachable']);

type ReadySchedule = Pick<Tables['scheduled_operations'], 'link_id' | 'account_id' | 'device_id'>;

/** Adds a run of a schedule. It replaces the run before, if that still waits. */
export async function enqueuePicture(on: Knex, run: Run, delayMs = 0): Promise<void> {
  await enqueue(on, TAKE_PICTURE, run, { key: `${TAKE_PICTURE}:${run.operationId}`, delayMs });
}

/**
 * Takes the picture of one run. Before Ring is asked and again before the picture is stored, the schedule must be active
 * and its device shared and covered: a schedule that is paused or deleted in between brings no picture.
 */
export async function takeScheduledPicture(
  dependencies: ScheduledPictureDependencies,
  payload: unknown,
): Promise<void> {
  const run = Run.parse(payload);
  const { db, clock, log } = dependencies;
  const schedule = await findReady(dependencies, run);
  if (schedule === undefined) return;

  let image: RingPicture | EncryptedMedia;
  try {
    image = await lookUpLatest(dependencies, { accountId: schedule.account_id, deviceId: schedule.device_id });
  } catch (error) {
    if (error instanceof NoLinkError) return;
    log.warn({ err: error, operationId: run.operationId, attempt: run.attempt }, 'a scheduled picture is not taken');
    dependencies.onSnapshot('failed');
    await recordFailure(db, run, error, clock());
    const { account_id: accountId, device_id: deviceId } = schedule;
    if (isGone(error)) await refetchDevice(db, { accountId, deviceId, occurredAt: clock() });
    return;
  }
  if (image.kind === 'encrypted') return;
  await store(dependencies, run, schedule, image);
  dependencies.onSnapshot('taken');
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
           AND NOT EXISTS (SELECT 1 FROM snapshots WHERE id = ${snapshotId})
           AND ${coverage.covers({ accountId: sql`device.account_id`, deviceId: sql`device.id` }, clock())}`,
  );
}

async function store(
  { db, clock, coverage }: Pick<Core, 'db' | 'clock' | 'coverage'>,
  { operationId, snapshotId }: Run,
  { link_id, account_id, device_id }: ReadySchedule,
  image: RingPicture,
): Promise<void> {
  const now = clock();
  await db.transaction(async (trx) => {
    // The device comes first, as in a removal of it. The lock is exclusive: of two transactions that add a picture at
    // once, each would miss the other's when it counts.
    const device = await row(
      trx,
      sql`SELECT 1 FROM ${SHARED_DEVICES} WHERE link.id = ${link_id} AND device.id = ${device_id} ${LOCK_SHARED}`,
    );
    if (device === undefined) return;
    if (!(await coverage.isCovered(trx, { accountId: account_id, deviceId: device_id }, now))) return;
    if (!(await recordRun(trx, operationId, null, now))) return;
    await addPicture(trx, {
      id: snapshotId,
      accountId: account_id,
      deviceId: device_id,
      takenAt: image.takenAt,
      image,
    });
  });
}

async function recordFailure(db: Knex, run: Run, error: unknown, now: Date): Promise<void> {
  await db.transaction(async (trx) => {
    const reason = error instanceof RingError ? error.reason : 'internal';
    const isActive = await recordRun(trx, run.operationId, reason, now);
    if (!isActive || !(error instanceof RingError)) return;
    if (!MAY_PASS.has(error.kind) || run.attempt >= MAX_ATTEMPTS) return;
    const pauseMs = retryPauseMs(run.attempt, MAX_PAUSE_MS, error.retryAfterSeconds);
    await enqueuePicture(trx, { ...run, attempt: run.attempt + 1 }, pauseMs);
  });
}
