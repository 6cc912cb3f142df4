import { type Request, type RequestHandler, type Response, Router } from 'express';
import { z } from 'zod';
import type { Core } from '../core.js';
import { type CapabilityView, capabilitiesView } from '../devices/capabilities-view.js';
import { detailsOf, refetchIfOld } from '../devices/device-details.js';
import {
  statusView,
  timeView,
  nameOfDevice,
  pathOfDevice,
  type StatusView,
  type TimeView,
} from '../devices/device-view.js';
import { noSuchDevice, requireDeviceOfUser, uncoveredDevice, type UserDevice } from '../devices/user-devices.js';
import { zonesView, type ZonesView } from '../devices/zones-view.js';
import { latestEvents, type LatestEventsView } from '../events/latest-events.js';
import { HttpError, methodNotAllowed } from '../http/errors.js';
import { limitAddress, type RateLimits } from '../http/rate-limits.js';
import { render } from '../http/render.js';
import { seeOther } from '../http/see-other.js';
import { takePicture } from '../pictures/picture-now.js';
import { findPicture, picturesOf } from '../pictures/pictures.js';
import { readScheduleForm, type ScheduleDraft, TIME_ZONES, UNKNOWN_TIME_ZONE } from '../pictures/schedule-form.js';
import { deleteSchedule, pauseByUser } from '../pictures/schedule-rows.js';
import {
  createSchedule,
  MAX_SCHEDULES_OF_DEVICE,
  resumeSchedule,
  type Schedule,
  schedulesOf,
} from '../pictures/schedules.js';
import type { CoveredDevice, Standing } from '../ring-accounts/coverage.js';
import { RingError } from '../ring/errors.js';
import { NoLinkError } from '../tokens/errors.js';
import { csrfProtection, csrfToken } from '../users/csrf.js';
import { signedInOrHome, userIdOf } from '../users/current-user.js';

declare module '../http/render.js' {
  interface Views {
    device: {
      title: string;
      csrfToken: string;
      path: string;
      device: DeviceView;
      uncovered: UncoveredView | null;
      stunUrls: readonly string[];
      pictureProblem: string | null;
      latest: LatestEventsView;
      pictures: PictureView[];
      schedules: ScheduleView[];
      isFull: boolean;
      mostSchedules: number;
      draft: ScheduleDraft;
      timeZones: readonly string[];
      zones: ZonesView | null;
      capabilities: CapabilityView[];
      fetched: TimeView | null;
      isOutdated: boolean;
    };
  }
}

export interface DeviceView extends StatusView {
  name: string;
  isOffline: boolean;
  location: string | null;
}

/** What is missing when no subscription covers the device. */
export interface UncoveredView {
  missing: string;
  advice: string;
  erased: TimeView | null;
}

export interface PictureView {
  id: string;
  takenAt: TimeView;
}

export interface ScheduleView {
  id: string;
  name: string;
  next: TimeView | null;
  /** Its buttons: the last part of the address, and the word on the button. */
  changes: [change: string, word: string][];
  pauseText: string | null;
  problem: string | null;
}

export interface DevicePageDependencies extends Pick<
  Core,
  'db' | 'ring' | 'tokens' | 'clock' | 'log' | 'linkClockSkewSeconds' | 'coverage'
> {
  limits: RateLimits;
  stunUrls: readonly string[];
}

/** Problems that the page shows beside the part that each belongs to. */
interface Problems {
  draft?: ScheduleDraft;
  picture?: string;
}

const Id = z.uuid();

/** The page of one device: what it sees now, its newest pictures and when more are taken, its zones, what it can do. */
export function devicePage(dependencies: DevicePageDependencies): Router {
  const { db, clock, limits, log, coverage, stunUrls } = dependencies;
  const router = Router();

  async function show(
    request: Request,
    response: Response,
    device: UserDevice,
    { draft, picture }: Problems = {},
  ): Promise<void> {
    const now = clock();
    const standing = await coverage.standing(db, referenceTo(device), now);
    const [schedules, pictures, details, latest] = await Promise.all([
      schedulesOf(db, device),
      standing.isCovered ? picturesOf(db, device) : [],
      detailsOf(db, device),
      latestEvents(db, userIdOf(request), device),
    ]);
    await refetchIfOld(db, device, details, now);
    const lastZone = schedules.findLast(({ timeZone }) => timeZone !== null)?.timeZone ?? '';
    render(response, 'device', {
      title: nameOfDevice(device.name),
      csrfToken: await csrfToken(request),
      path: pathOfDevice(device.id),
      device: deviceView(device),
      uncovered: uncoveredView(standing),
      stunUrls,
      pictureProblem: picture ?? null,
      latest,
      pictures: pictures.map(({ id, taken_at }) => ({ id, takenAt: timeView(taken_at) })),
      schedules: schedules.map((schedule) => scheduleView(schedule, standing)),
      isFull: schedules.length >= MAX_SCHEDULES_OF_DEVICE,
      mostSchedules: MAX_SCHEDULES_OF_DEVICE,
      draft: draft ?? { timeOfDay: '', timeZone: lastZone, error: null },
      timeZones: TIME_ZONES,
      zones: zonesView(details.capabilities, details.configurations),
      capabilities: capabilitiesView(details.capabilities, details.configurations),
      fetched: details.fetchedAt === null ? null : timeView(details.fetchedAt),
      isOutdated: details.isOutdated,
    });
  }

  function deviceOf(request: Request<DeviceParameters>): Promise<UserDevice> {
    return requireDeviceOfUser(db, userIdOf(request), request.params.deviceId);
  }

  /** @throws {HttpError} 403 */
  async function requireCovered(device: UserDevice): Promise<void> {
    if (!(await coverage.isCovered(db, referenceTo(device), clock()))) throw uncoveredDevice();
  }

  const page = router.route('/devices/:deviceId');
  page.get(limitAddress(limits.visit), signedInOrHome, async (request: Request<DeviceParameters>, response) => {
    await show(request, response, await deviceOf(request));
  });
  page.all(methodNotAllowed('GET', 'HEAD'));

  const schedules = router.route('/devices/:deviceId/scheduled-operations');
  schedules.post(signedInOrHome, csrfProtection, async (request: Request<DeviceParameters>, response) => {
    const { deviceId } = request.params;
    const read = readScheduleForm(request.body);
    const error =
      'recurrence' in read
        ? refusal(await createSchedule(dependencies, { userId: userIdOf(request), deviceId }, read.recurrence, clock()))
        : read.draft.error;
    if (error === null) {
      seeOther(response, `${pathOfDevice(deviceId)}#schedules`);
      return;
    }
    const device = await deviceOf(request);
    response.status(400);
    await show(request, response, device, { draft: { ...read.draft, error } });
  });
  schedules.get(backToDevice);
  schedules.all(methodNotAllowed('POST'));

  for (const [change, apply] of Object.entries(CHANGES)) {
    const route = router.route(`/devices/:deviceId/scheduled-operations/:operationId/${change}`);
    route.post(signedInOrHome, csrfProtection, async (request: Request<ScheduleParameters>, response) => {
      const device = await deviceOf(request);
      const scheduleId = Id.safeParse(request.params.operationId);
      if (!scheduleId.success) throw new HttpError(404, 'There is no such schedule.');
      await apply(dependencies, userIdOf(request), device, scheduleId.data);
      seeOther(response, `${pathOfDevice(device.id)}#schedules`);
    });
    route.get(backToDevice);
    route.all(methodNotAllowed('POST'));
  }

  const pictures = router.route('/devices/:deviceId/snapshots');
  pictures.post(signedInOrHome, csrfProtection, async (request: Request<DeviceParameters>, response) => {
    const userId = userIdOf(request);
    await limits.picture.consume(userId);
    const device = await deviceOf(request);
    await requireCovered(device);
    try {
      await takePicture(dependencies, userId, device);
      seeOther(response, `${pathOfDevice(device.id)}#pictures`);
    } catch (error) {
      if (error instanceof NoLinkError) {
        // The home page tells how the link stands.
        seeOther(response, '/ring/home');
        return;
      }
      if (!(error instanceof RingError)) throw error;
      log.warn({ err: error }, 'a picture is not taken');
      response.status(502);
      await show(request, response, device, { picture: NO_PICTURE });
    }
  });
  pictures.get(backToDevice);
  pictures.all(methodNotAllowed('POST'));

  const picture = router.route('/devices/:deviceId/snapshots/:snapshotId');
  picture.get(signedInOrHome, async (request: Request<PictureParameters>, response) => {
    const pictureId = Id.safeParse(request.params.snapshotId);
    const device = await deviceOf(request);
    await requireCovered(device);
    const found = pictureId.success ? await findPicture(db, device, pictureId.data) : undefined;
    if (found === undefined) throw new HttpError(404, 'There is no such picture. Only the newest ones are kept.');
    response
      .set({
        'Content-Type': found.content_type,
        'Content-Security-Policy': PICTURE_POLICY,
      })
      .send(found.picture);
  });
  picture.all(methodNotAllowed('GET', 'HEAD'));
  return router;
}

/** Changes that a user can make to a schedule, by the last part of their addresses. */
const CHANGES: Record<
  string,
  (
    core: Pick<Core, 'db' | 'clock' | 'coverage'>,
    userId: string,
    device: UserDevice,
    scheduleId: string,
  ) => Promise<void>
> = {
  pause: ({ db }, _userId, device, scheduleId) => pauseByUser(db, device, scheduleId),
  async resume(core, userId, { id: deviceId }, scheduleId) {
    const outcome = await resumeSchedule(core, { userId, deviceId }, scheduleId, core.clock());
    if (outcome === 'uncovered') throw uncoveredDevice();
  },
  delete: ({ db }, _userId, device, scheduleId) => deleteSchedule(db, device, scheduleId),
};

/** A picture that is opened by itself is shown by the browser in a page of its own, which has a style in it. */
const PICTURE_POLICY = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'";

const NO_PICTURE = 'Ring gave us no picture. The device may be busy or offline: please try again in a moment.';

type DeviceParameters = { deviceId: string };
type ScheduleParameters = DeviceParameters & { operationId: string };
type PictureParameters = DeviceParameters & { snapshotId: string };

/** @throws {HttpError} 404, 403 */
function refusal(outcome: Awaited<ReturnType<typeof createSchedule>>): ScheduleDraft['error'] {
  switch (outcome) {
    case 'created':
      return null;
    case 'full':
      return { message: `A device can have ${MAX_SCHEDULES_OF_DEVICE} schedules. Delete one to make another.` };
    case 'unknown-zone':
      return { field: 'zone', message: UNKNOWN_TIME_ZONE };
    case 'no-device':
      throw noSuchDevice();
    case 'uncovered':
      throw uncoveredDevice();
  }
}

/** A failed form leaves its address in the browser; reloading it should lead back to the page. */
const backToDevice: RequestHandler<DeviceParameters> = (request, response) => {
  seeOther(response, pathOfDevice(request.params.deviceId));
};

function deviceView(device: UserDevice): DeviceView {
  const { online, location } = device;
  return {
    name: nameOfDevice(device.name),
    isOffline: online === false,
    ...statusView(device),
    location: location === null ? null : [location.state, location.country].filter(Boolean).join(', '),
  };
}

const referenceTo = ({ accountId, id: deviceId }: UserDevice): CoveredDevice => ({ accountId, deviceId });

function uncoveredView({ isCovered, isAnswered, uncoveredSince }: Standing): UncoveredView | null {
  if (isCovered) return null;
  return {
    missing: isAnswered
      ? 'No active subscription covers this device.'
      : 'Ring has not told us yet whether a subscription covers this device.',
    advice: isAnswered
      ? 'Live view, pictures and schedules need one. You get or renew it in the Ring app, and this page follows by itself.'
      : 'Live view, pictures and schedules need one. We keep asking; you see your subscriptions in the Ring app.',
    erased: uncoveredSince === null ? null : timeView(uncoveredSince),
  };
}

function scheduleView(schedule: Schedule, { isCovered }: Standing): ScheduleView {
  const { id, frequency, timeOfDay, timeZone, nextRunAt, lastError } = schedule;
  return {
    id,
    name: frequency === 'HOURLY' ? 'Every hour' : `Every day at ${timeOfDay ?? ''} (${timeZone ?? ''})`,
    next: nextRunAt === null ? null : timeView(nextRunAt, timeZone ?? 'UTC'),
    changes: [...pauseChange(schedule, isCovered), ['delete', 'Delete']],
    pauseText: pauseText(schedule),
    problem: lastError === null ? null : problemText(lastError),
  };
}

function pauseChange({ pauseReason }: Schedule, isCovered: boolean): ScheduleView['changes'] {
  if (pauseReason !== 'USER') return [['pause', 'Pause']];
  return isCovered ? [['resume', 'Resume']] : [];
}

function pauseText({ pauseReason }: Schedule): string | null {
  switch (pauseReason) {
    case 'OFFLINE':
      return 'Paused while the device is offline. Goes on by itself.';
    case 'USER':
      return 'Paused by you.';
    case 'SUBSCRIPTION':
      return 'Paused while no subscription covers the device. Goes on by itself.';
    case null:
      return null;
  }
}

/** @param lastError kind and status of a failed call to Ring */
function problemText(lastError: string): string {
  return lastError.startsWith('rejected') || lastError.startsWith('unauthorized')
    ? 'Last time, Ring did not let us take a picture. We’ll try again next time.'
    : 'Last time, no picture could be taken. We’ll try again next time.';
}
