import { type Request, type RequestHandler, type Response, Router } from 'express';
import type { Knex } from 'knex';
import { z } from 'zod';
import { csrfProtection, csrfToken } from '../accounts/csrf.js';
import type { Clock } from '../clock.js';
import { signedInOrHome, userIdOf } from '../accounts/current-user.js';
import { HttpError, methodNotAllowed } from '../http/errors.js';
import { limitAddress, type RateLimits } from '../http/rate-limits.js';
import { seeOther } from '../http/see-other.js';
import { readScheduleForm, type ScheduleDraft, TIME_ZONES, UNKNOWN_TIME_ZONE } from './schedule-form.js';
import {
  createOperation,
  deleteOperation,
  MAX_OPERATIONS_OF_DEVICE,
  operationsOf,
  type ScheduledOperation,
} from './schedules.js';
import { findPicture, snapshotsOf } from './snapshots.js';
import { latestEvents } from './latest-events.js';
import { describeStatus, describeTime, nameOfDevice, pathOfDevice } from './describe-device.js';
import { findDeviceOfUser, type UserDevice } from './user-devices.js';

export interface DevicePageDependencies {
  database: Knex;
  clock: Clock;
  limits: RateLimits;
}

const Id = z.uuid();

/** The page of one device: how it is, its newest pictures, and when more of them are taken. */
export function devicePage({ database, clock, limits }: DevicePageDependencies): Router {
  const router = Router();

  async function show(request: Request, response: Response, device: UserDevice, draft?: ScheduleDraft): Promise<void> {
    const [operations, snapshots, latest] = await Promise.all([
      operationsOf(database, device),
      snapshotsOf(database, device),
      latestEvents(database, userIdOf(request), device.id),
    ]);
    const lastZone = operations.findLast(({ timeZone }) => timeZone !== null)?.timeZone ?? '';
    response.render('device', {
      title: nameOfDevice(device.name),
      csrfToken: await csrfToken(request),
      path: pathOfDevice(device.id),
      device: describeDevice(device),
      latest,
      pictures: snapshots.map((snapshot) => ({ id: snapshot.id, ...describeTime(snapshot.takenAt) })),
      schedules: operations.map(describeOperation),
      isFull: operations.length >= MAX_OPERATIONS_OF_DEVICE,
      mostSchedules: MAX_OPERATIONS_OF_DEVICE,
      draft: draft ?? { timeOfDay: '', timeZone: lastZone, error: null },
      timeZones: TIME_ZONES,
    });
  }

  async function deviceOf(request: Request<DeviceParameters>): Promise<UserDevice> {
    const device = await findDeviceOfUser(database, userIdOf(request), request.params.deviceId);
    if (device === undefined) throw noSuchDevice();
    return device;
  }

  const page = router.route('/devices/:deviceId');
  page.get(limitAddress(limits.visit), signedInOrHome, async (request: Request<DeviceParameters>, response) => {
    await show(request, response, await deviceOf(request));
  });
  page.all(methodNotAllowed('GET', 'HEAD'));

  const operations = router.route('/devices/:deviceId/scheduled-operations');
  operations.post(csrfProtection, signedInOrHome, async (request: Request<DeviceParameters>, response) => {
    const { deviceId } = request.params;
    const read = readScheduleForm(request.body);
    const error =
      'schedule' in read
        ? refusal(await createOperation(database, { userId: userIdOf(request), deviceId }, read.schedule, clock()))
        : read.draft.error;
    if (error === null) {
      seeOther(response, pathOfDevice(deviceId));
      return;
    }
    const device = await deviceOf(request);
    response.status(400);
    await show(request, response, device, { ...read.draft, error });
  });
  operations.get(backToDevice);
  operations.all(methodNotAllowed('POST'));

  const deletion = router.route('/devices/:deviceId/scheduled-operations/:operationId/delete');
  deletion.post(csrfProtection, signedInOrHome, async (request: Request<OperationParameters>, response) => {
    const device = await deviceOf(request);
    const operationId = Id.safeParse(request.params.operationId);
    if (!operationId.success) throw new HttpError(404, 'There is no such schedule.');
    await deleteOperation(database, device, operationId.data);
    seeOther(response, pathOfDevice(device.id));
  });
  deletion.get(backToDevice);
  deletion.all(methodNotAllowed('POST'));

  const picture = router.route('/devices/:deviceId/snapshots/:snapshotId');
  picture.get(signedInOrHome, async (request: Request<PictureParameters>, response) => {
    const snapshotId = Id.safeParse(request.params.snapshotId);
    const device = await deviceOf(request);
    const found = snapshotId.success ? await findPicture(database, device, snapshotId.data) : undefined;
    if (found === undefined) throw new HttpError(404, 'There is no such picture. Only the newest ones are kept.');
    response.set({ 'Content-Type': found.contentType, 'Cache-Control': 'private, no-store' }).send(found.bytes);
  });
  picture.all(methodNotAllowed('GET', 'HEAD'));
  return router;
}

type DeviceParameters = { deviceId: string };
type OperationParameters = DeviceParameters & { operationId: string };
type PictureParameters = DeviceParameters & { snapshotId: string };

/** @throws {HttpError} 404 */
function refusal(outcome: Awaited<ReturnType<typeof createOperation>>): ScheduleDraft['error'] {
  switch (outcome) {
    case 'created':
      return null;
    case 'full':
      return { message: `A device can have ${MAX_OPERATIONS_OF_DEVICE} schedules. Delete one to make another.` };
    case 'unknown-zone':
      return { field: 'zone', message: UNKNOWN_TIME_ZONE };
    case 'no-device':
      throw noSuchDevice();
  }
}

const noSuchDevice = (): HttpError =>
  new HttpError(404, 'There is no such device, or it is no longer shared in the Ring app.');

/** A failed form leaves its address in the browser; reloading it should lead back to the page. */
const backToDevice: RequestHandler<DeviceParameters> = (request, response) => {
  seeOther(response, pathOfDevice(request.params.deviceId));
};

function describeDevice(device: UserDevice) {
  const { online, onlineAt, location } = device;
  return {
    name: nameOfDevice(device.name),
    ...describeStatus(online),
    since: onlineAt === null ? null : describeTime(onlineAt),
    location: location === null ? null : [location.state, location.country].filter(Boolean).join(', '),
  };
}

function describeOperation(operation: ScheduledOperation) {
  const { id, frequency, timeOfDay, timeZone, nextRunAt, lastError } = operation;
  return {
    id,
    name: frequency === 'HOURLY' ? 'Every hour' : `Every day at ${timeOfDay ?? ''} (${timeZone ?? ''})`,
    next: nextRunAt === null ? null : describeTime(nextRunAt, timeZone ?? 'UTC'),
    pauseText: describePause(operation),
    problem: lastError === null ? null : describeProblem(lastError),
  };
}

function describePause({ pauseReason }: ScheduledOperation): string | null {
  switch (pauseReason) {
    case 'OFFLINE':
      return 'Paused while the device is offline. Goes on by itself.';
    case 'USER':
      return 'Paused.';
    case null:
      return null;
  }
}

/** @param lastError kind and status of a failed call to Ring */
function describeProblem(lastError: string): string {
  return lastError.startsWith('rejected') || lastError.startsWith('unauthorized')
    ? 'Last time, Ring did not let us take a picture. We’ll try again at the next time.'
    : 'Last time, no picture could be taken. We’ll try again at the next time.';
}
