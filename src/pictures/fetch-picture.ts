import { randomUUID } from 'node:crypto';
import type { Knex } from 'knex';
import { z } from 'zod';
import type { Core } from '../core.js';
import { row, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { LOCK_SHARED, lockDeviceOfUser, SHARED_DEVICES, type UserDevice } from '../devices/user-devices.js';
import { enqueue } from '../jobs/enqueue.js';
import { onBehalfOf } from '../request-id.js';
import type { CoveredDevice } from '../ring-accounts/coverage.js';
import type { CallBudget } from '../tokens/call-budget.js';
import { NoLinkError } from '../tokens/errors.js';
import { DAYS_FOR_A_USER, type LookedUp, lookUp, type LookUpDependencies, type Wish } from './look-up.js';
import type { PictureOutcome } from './outcomes.js';
import {
  addAutomatic,
  addEnded,
  addWaiting,
  type End,
  endWaiting,
  findWaiting,
  type WaitingRequest,
  withAutomaticPictures,
} from './picture-requests.js';
import { addPicture } from './pictures.js';
import { pauseBeforeRetry } from './retry.js';

/** The job that goes on asking for a picture that a user waits for. */
export const FETCH_PICTURE = 'fetch_picture';
/** The job that asks for a picture of an event by itself. */
export const FETCH_EVENT_PICTURE = 'fetch_event_picture';

export interface FetchDependencies extends LookUpDependencies, Pick<Core, 'coverage'> {
  /** Hears of each picture that Ring was asked for. */
  onPicture: (outcome: PictureOutcome) => void;
}

/** An event of a device, of which something was recorded. */
export interface EventWithPicture {
  id: string;
  occurredAt: Date;
}

export function findEventWithPicture(
  db: Knex,
  { accountId, id: deviceId }: UserDevice,
  eventId: string,
): Promise<(EventWithPicture & Pick<Tables['device_events'], 'type'>) | undefined> {
  return row(
    db,
    sql`SELECT request_id AS id, occurred_at AS "occurredAt", type FROM device_events
         WHERE request_id = ${eventId} AND account_id = ${accountId} AND device_id = ${deviceId}
           AND type IN ('motion_detected', 'button_press')`,
  );
}

/**
 * Fetches a picture for a user who waits for it: the latest one, or that of an event. What came of it is noted, for the page
 * to say. One that is not ready yet is asked for again by a job. A picture that arrives when the device is gone, or not
 * covered any more, is not kept.
 *
 * @returns the picture's ID, if there is one
 * @throws {NoLinkError} when the link has ended
 */
export async function fetchPicture(
  dependencies: FetchDependencies,
  userId: string,
  device: UserDevice,
  event: EventWithPicture | null,
): Promise<string | undefined> {
  const { db, clock, onPicture } = dependencies;
  const { accountId, id: deviceId, linkId } = device;
  const moment = event?.occurredAt ?? null;
  const asked = await lookUpCovered(dependencies, { accountId, deviceId, moment });
  const outcome = await db.transaction(async (trx) => {
    const present = await lockDeviceOfUser(trx, userId, deviceId);
    if (present?.linkId !== linkId) return undefined;
    const request = { accountId, deviceId, eventId: event?.id ?? null, now: clock() };
    const found = await ifCovered(trx, dependencies, request, asked);
    if (found.kind === 'missing' && found.outcome === 'not-ready') {
      const pictureRequestId = await addWaiting(trx, request);
      await enqueueJob(trx, FETCH_PICTURE, { pictureRequestId, attempt: 2 }, pauseBeforeRetry(found, 1) ?? 0);
      return { outcome: found.outcome, pictureId: null };
    }
    const end = await keep(trx, request, found);
    await addEnded(trx, request, end);
    return end;
  });
  onPicture(outcome?.outcome ?? (asked.kind === 'missing' ? asked.outcome : 'failed'));
  return outcome?.pictureId ?? undefined;
}

const UNCOVERED: LookedUp = { kind: 'missing', outcome: 'uncovered', error: null };

/** Asks Ring, unless the device lacks a subscription. */
async function lookUpCovered(dependencies: FetchDependencies, wish: Wish): Promise<LookedUp> {
  const { db, coverage, clock } = dependencies;
  if (!(await coverage.isCovered(db, wish, clock()))) return UNCOVERED;
  return lookUp(dependencies, wish, DAYS_FOR_A_USER);
}

/** What was found, if the device is still covered. The caller holds the lock of the device. */
async function ifCovered(
  trx: Knex.Transaction,
  { coverage, clock }: Pick<Core, 'coverage' | 'clock'>,
  device: CoveredDevice,
  found: LookedUp,
): Promise<LookedUp> {
  return (await coverage.isCovered(trx, device, clock())) ? found : UNCOVERED;
}

/** Keeps what was found. The caller holds the lock of the device. */
async function keep(
  trx: Knex.Transaction,
  { accountId, deviceId, now }: { accountId: string; deviceId: string; now: Date },
  found: LookedUp,
): Promise<End> {
  if (found.kind === 'missing') return { outcome: found.outcome, pictureId: null };
  const { picture } = found;
  const { id, isNew } = await addPicture(trx, { id: randomUUID(), accountId, deviceId, picture, now });
  return { outcome: isNew ? 'taken' : 'known', pictureId: id };
}

/** An event is recorded for some time yet when we hear of it, and its recording is not ready before that. */
const FIRST_PAUSE_MS = 20_000;
/** An event that arrives later than this gets its picture by a click: Ring may be sending what piled up in a bad hour. */
const LATE_MS = 15 * 60_000;

interface RecordedEvent {
  requestId: string;
  accountId: string;
  deviceId: string;
  occurredAt: Date;
}

/** Has the pictures of events fetched by themselves, where a device's user wants that. Part of the transaction that records them. */
export async function wantEventPictures(
  trx: Knex.Transaction,
  events: readonly RecordedEvent[],
  now: Date,
): Promise<void> {
  const recent = events.filter(({ occurredAt }) => now.getTime() - occurredAt.getTime() <= LATE_MS);
  if (recent.length === 0) return;
  for (const requestId of await withAutomaticPictures(trx, recent)) {
    const event = recent.find((one) => one.requestId === requestId);
    if (event !== undefined) await onBehalfOf(requestId, () => wantPicture(trx, event, now));
  }
}

async function wantPicture(
  trx: Knex.Transaction,
  { requestId: eventId, accountId, deviceId }: RecordedEvent,
  now: Date,
): Promise<void> {
  const pictureRequestId = await addAutomatic(trx, { accountId, deviceId, eventId, now });
  if (pictureRequestId === undefined) return;
  await enqueueJob(trx, FETCH_EVENT_PICTURE, { pictureRequestId, attempt: 1 }, FIRST_PAUSE_MS);
}

const Job = z.object({ pictureRequestId: z.uuid(), attempt: z.number().int().min(1) });
type Job = z.output<typeof Job>;

async function enqueueJob(on: Knex, task: string, job: Job, delayMs: number): Promise<void> {
  await enqueue(on, task, job, { key: `${task}:${job.pictureRequestId}`, delayMs });
}

/** Asks once more for a picture that a user waits for. */
export async function fetchAwaitedPicture(dependencies: FetchDependencies, payload: unknown): Promise<void> {
  const job = Job.parse(payload);
  const request = await findWaiting(dependencies.db, job.pictureRequestId);
  if (request !== undefined) await fetchWaiting(dependencies, FETCH_PICTURE, job, request);
}

export interface EventPictureDependencies extends FetchDependencies {
  /** The share of Ring's limit that these pictures may use. */
  pictureBudget: CallBudget;
}

/** How long a job without a turn waits for the next one, in ms. */
const NO_TURN_PAUSE_MS = 10_000;
/** A picture that has waited this long is left to a click. */
const LONGEST_WAIT_MS = 20 * 60_000;

/** Asks for the picture of an event, in its turn. */
export async function fetchEventPicture(dependencies: EventPictureDependencies, payload: unknown): Promise<void> {
  const { db, clock, pictureBudget } = dependencies;
  const job = Job.parse(payload);
  const request = await findWaiting(db, job.pictureRequestId);
  if (request === undefined) return;
  if (clock().getTime() - request.askedAt.getTime() > LONGEST_WAIT_MS) {
    await endWaiting(db, job.pictureRequestId, { outcome: 'busy', pictureId: null });
    return;
  }
  if (!(await pictureBudget.take())) {
    await enqueueJob(db, FETCH_EVENT_PICTURE, job, NO_TURN_PAUSE_MS);
    return;
  }
  const found = await fetchWaiting(dependencies, FETCH_EVENT_PICTURE, job, request);
  if (found?.kind !== 'missing' || found.error?.kind !== 'rate-limited') return;
  await pictureBudget.pause(found.error.retryAfterSeconds ?? 1);
}

/** One attempt. What failed and may pass becomes a job again, in the transaction that would have noted the end. */
async function fetchWaiting(
  dependencies: FetchDependencies,
  task: string,
  { pictureRequestId, attempt }: Job,
  request: WaitingRequest,
): Promise<LookedUp | undefined> {
  const { db, clock, onPicture } = dependencies;
  const { accountId, deviceId } = request;
  let asked: LookedUp;
  try {
    asked = await lookUpCovered(dependencies, request);
  } catch (error) {
    if (!(error instanceof NoLinkError)) throw error;
    await endWaiting(db, pictureRequestId, { outcome: 'failed', pictureId: null });
    return undefined;
  }
  const outcome = await db.transaction(async (trx): Promise<PictureOutcome> => {
    const isShared = await row(
      trx,
      sql`SELECT 1 FROM ${SHARED_DEVICES} WHERE device.account_id = ${accountId} AND device.id = ${deviceId} ${LOCK_SHARED}`,
    );
    const found = await ifCovered(trx, dependencies, request, asked);
    const pauseMs = found.kind === 'missing' ? pauseBeforeRetry(found, attempt) : undefined;
    if (isShared !== undefined && pauseMs !== undefined) {
      await enqueueJob(trx, task, { pictureRequestId, attempt: attempt + 1 }, pauseMs);
      return found.kind === 'missing' ? found.outcome : 'failed';
    }
    const end: End = isShared
      ? await keep(trx, { accountId, deviceId, now: clock() }, found)
      : { outcome: 'failed', pictureId: null };
    await endWaiting(trx, pictureRequestId, end);
    return end.outcome;
  });
  onPicture(outcome);
  return asked;
}
