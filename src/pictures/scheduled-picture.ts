import type { Knex } from 'knex';
import { z } from 'zod';
import { row } from '../database/database.js';
import { enqueue } from '../jobs/enqueue.js';
import { retryPauseMs } from '../time/retry-pause.js';
import { isGone, RingError, type RingErrorKind } from '../ring/errors.js';
import type { RingImage } from '../ring/media.js';
import { NoLinkError } from '../tokens/errors.js';
import { refetchDevice } from '../ring-accounts/refetch.js';
import { addSnapshot } from './pictures.js';
import { LOCK_SHARED, SHARED_DEVICES } from '../devices/user-devices.js';
import type { Core } from '../core.js';

/** The job that takes one scheduled picture. */
export const TAKE_SNAPSHOT = 'take_snapshot';

export interface TakeSnapshotDependencies extends Pick<Core, 'db' | 'ring' | 'tokens' | 'clock' | 'log'> {
  /** Hears of each picture that Ring was asked for, whether or not the schedule still wanted it. */
  onSnapshot: (outcome: 'taken' | 'failed') => void;
}

/** One run of an operation. The picture's ID is chosen before, so that a run that is repeated brings no second one. */
const Run = z.object({ operationId: z.uuid(), snapshotId: z.uuid(), attempt: z.number().int().min(1) });
export type SnapshotRun = z.output<typeof Run>;

/** Some 30 s in all. What lasts longer is left to the next run. */
const MAX_ATTEMPTS = 6;
const MAX_PAUSE_MS = 60_000;
const MAY_PASS: ReadonlySet<RingErrorKind> = new Set(['unavailable', 'no-answer', 'rate-limited', 'unreachable']);

interface Operation {
  link_id: string;
  account_id: string;
  device_id: string;
}

/** Adds a run of an operation. What is still waiting of the run before gives way to it. */
export async function enqueueSnapshot(on: Knex, run: SnapshotRun, delayMs = 0): Promise<void> {
  await enqueue(on, TAKE_SNAPSHOT, run, { key: `${TAKE_SNAPSHOT}:${run.operationId}`, delayMs });
}

/**
 * Takes the picture of one run. Before Ring is asked and again before the picture is stored, the operation must be active
 * and its device shared: whoever pauses or deletes it in between gets no picture.
 */
export async function takeSnapshot(dependencies: TakeSnapshotDependencies, payload: unknown): Promise<void> {
  const run = Run.parse(payload);
  const { db, ring, tokens, clock, log } = dependencies;
  const operation = await findReady(db, run);
  if (operation === undefined) return;

  let image: RingImage;
  try {
    image = await tokens.forAccount(operation.account_id, (accessToken) =>
      ring.downloadImage(accessToken, operation.device_id),
    );
  } catch (error) {
    if (error instanceof NoLinkError) return;
    log.warn({ err: error, operationId: run.operationId, attempt: run.attempt }, 'a scheduled picture is not taken');
    dependencies.onSnapshot('failed');
    await recordFailure(db, run, error, clock());
    const { account_id: accountId, device_id: deviceId } = operation;
    if (isGone(error)) await refetchDevice(db, { accountId, deviceId, occurredAt: clock() });
    return;
  }
  await store(db, run, operation, image, clock());
  dependencies.onSnapshot('taken');
}

function findReady(db: Knex, { operationId, snapshotId }: SnapshotRun): Promise<Operation | undefined> {
  return row<Operation>(
    db,
    `SELECT operation.link_id, operation.account_id, operation.device_id
       FROM scheduled_operations operation JOIN (${SHARED_DEVICES})
         ON link.id = operation.link_id AND device.id = operation.device_id
      WHERE operation.id = ? AND operation.status = 'ACTIVE' AND device.online IS NOT FALSE
        AND NOT EXISTS (SELECT 1 FROM snapshots WHERE id = ?)`,
    [operationId, snapshotId],
  );
}

async function store(
  db: Knex,
  { operationId, snapshotId }: SnapshotRun,
  { link_id, account_id, device_id }: Operation,
  image: RingImage,
  now: Date,
): Promise<void> {
  await db.transaction(async (trx) => {
    // The device first, as whoever removes it does. The lock is this transaction's alone: of two that add a picture at
    // once, each would miss the other's when it counts.
    const device = await row(
      trx,
      `SELECT 1 FROM ${SHARED_DEVICES} WHERE link.id = ? AND device.id = ? ${LOCK_SHARED}`,
      [link_id, device_id],
    );
    if (device === undefined) return;
    const operation = await row(
      trx,
      `UPDATE scheduled_operations SET last_run_at = ?, last_error = NULL WHERE id = ? AND status = 'ACTIVE' RETURNING 1`,
      [now, operationId],
    );
    if (operation === undefined) return;
    await addSnapshot(trx, { id: snapshotId, accountId: account_id, deviceId: device_id, takenAt: now, image });
  });
}

async function recordFailure(db: Knex, run: SnapshotRun, error: unknown, now: Date): Promise<void> {
  await db.transaction(async (trx) => {
    const operation = await row(
      trx,
      `UPDATE scheduled_operations SET last_run_at = ?, last_error = ? WHERE id = ? AND status = 'ACTIVE' RETURNING 1`,
      [now, error instanceof RingError ? error.reason : 'internal', run.operationId],
    );
    if (operation === undefined || !(error instanceof RingError)) return;
    if (!MAY_PASS.has(error.kind) || run.attempt >= MAX_ATTEMPTS) return;
    const pauseMs = retryPauseMs(run.attempt, MAX_PAUSE_MS, error.retryAfterSeconds);
    await enqueueSnapshot(trx, { ...run, attempt: run.attempt + 1 }, pauseMs);
  });
}
