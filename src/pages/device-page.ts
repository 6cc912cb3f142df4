import { type Request, type RequestHandler, type Response, Router } from 'express';
import { z } from 'zod';
import type { Core } from '../core.js';
import { type CapabilityView, capabilitiesView } from '../devices/capabilities-view.js';
import { detailsOf, refetchIfOld } from '../devices/device-details.js';
import { kindOfDevice, mayHaveVideo, NO_PICTURES } from '../devices/device-kind.js';
import {
  statusView,
  timeView,
  nameOfDevice,
  pathOfDevice,
  type StatusView,
  type TimeView,
} from '../devices/device-view.js';
import { noSuchDevice, uncoveredDevice } from '../devices/no-such-device.js';
import { sensorViews } from '../devices/sensors-view.js';
import type { UserDevice } from '../devices/user-devices.js';
import { zonesView, type ZonesView } from '../devices/zones-view.js';
import { latestEvents, type LatestEventsView } from '../events/latest-events.js';
import { HttpError, methodNotAllowed } from '../http/errors.js';
import { limitCaller, type RateLimits } from '../http/rate-limits.js';
import { render } from '../http/render.js';
import { seeOther } from '../http/see-other.js';
import { lastRunText, noticeOf, type PictureNotice } from '../pictures/outcome-words.js';
import { requestOf } from '../pictures/picture-requests.js';
import { picturesOf } from '../pictures/pictures.js';
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
import { csrfProtection, csrfToken } from '../users/csrf.js';
import { signedInOrHome, userIdOf } from '../users/current-user.js';
import { requiredDevice } from './required-device.js';

declare module '../http/render.js' {
  interface Views {
    device: {
      title: string;
      csrfToken: string;
      path: string;
      device: DeviceView;
      sensors: StatusView[];
      uncovered: UncoveredView | null;
      stunUrls: readonly string[];
      /** What came of the last request for the latest picture. */
      notice: PictureNotice | null;
      hasEventPictures: boolean;
      latest: LatestEventsView;
      pictures: PictureView[];
      /** How many more are kept. */
      morePictures: number;
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
  /** Whether a live view and pictures are offered. */
  hasVideo: boolean;
  /** What it is, and where. */
  about: string;
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
  /** Why the last run brought no picture. */
  lastRun: string | null;
}

export interface DevicePageDependencies extends Pick<Core, 'db' | 'clock' | 'coverage'> {
  limits: RateLimits;
  stunUrls: readonly string[];
}

const Id = z.uuid();

/** How many pictures the page shows. The others follow one by one. */
const SHOWN_PICTURES = 8;

/** The page of one device: what it sees now, its newest pictures and when they are fetched, its zones, what it can do. */
export function devicePage(dependencies: DevicePageDependencies): Router {
  const { db, clock, limits, coverage, stunUrls } = dependencies;
  const router = Router();

  async function show(request: Request, response: Response, device: UserDevice, draft?: ScheduleDraft): Promise<void> {
    const now = clock();
    const standing = await coverage.standing(db, referenceTo(device), now);
    const [schedules, pictures, pictureRequest, details, latest] = await Promise.all([
      schedulesOf(db, device),
      standing.isCovered ? picturesOf(db, device) : [],
      standing.isCovered ? requestOf(db, device, null, now) : undefined,
      detailsOf(db, device),
      latestEvents(dependencies, userIdOf(request), device),
    ]);
    await refetchIfOld(db, device, details, now);
    const lastZone = schedules.findLast(({ timeZone }) => timeZone !== null)?.timeZone ?? '';
    render(response, 'device', {
      title: nameOfDevice(device.name),
      csrfToken: await csrfToken(request),
      path: pathOfDevice(device.id),
      device: deviceView(device),
      sensors: sensorViews(device),
      uncovered: mayHaveVideo(device) ? uncoveredView(standing) : null,
      stunUrls,
      notice: noticeOf(pictureRequest, 'latest', now),
      hasEventPictures: details.hasEventPictures,
      latest,
      pictures: pictures.slice(0, SHOWN_PICTURES).map(({ id, taken_at }) => ({ id, takenAt: timeView(taken_at) })),
      morePictures: Math.max(0, pictures.length - SHOWN_PICTURES),
      schedules: schedules.map((schedule) => scheduleView(schedule, device, standing)),
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
    return requiredDevice(db, userIdOf(request), request.params.deviceId);
  }

  const page = router.route('/devices/:deviceId');
  page.get(limitCaller(limits.visit), signedInOrHome, async (request: Request<DeviceParameters>, response) => {
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
    await show(request, response, device, { ...read.draft, error });
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

type DeviceParameters = { deviceId: string };
type ScheduleParameters = DeviceParameters & { operationId: string };

/** @throws {HttpError} 403, 404; 409 for a device without a camera */
function refusal(outcome: Awaited<ReturnType<typeof createSchedule>>): ScheduleDraft['error'] {
  switch (outcome) {
    case 'created':
      return null;
    case 'full':
      return { message: `A device can have ${MAX_SCHEDULES_OF_DEVICE} schedules. Delete one to make another.` };
    case 'unknown-zone':
      return { field: 'zone', message: UNKNOWN_TIME_ZONE };
    case 'no-video':
      throw new HttpError(409, NO_PICTURES);
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
  const place = [location?.state, location?.country].filter(Boolean).join(', ');
  return {
    name: nameOfDevice(device.name),
    isOffline: online === false,
    ...statusView(device),
    hasVideo: mayHaveVideo(device),
    about: [kindOfDevice(device), place].filter(Boolean).join(' · '),
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
      ? 'Live view, pictures, recordings and schedules need one. You get or renew it in the Ring app, and this page follows by itself.'
      : 'Live view, pictures, recordings and schedules need one. We keep asking; you see your subscriptions in the Ring app.',
    erased: uncoveredSince === null ? null : timeView(uncoveredSince),
  };
}

function scheduleView(schedule: Schedule, device: UserDevice, { isCovered }: Standing): ScheduleView {
  const { id, frequency, timeOfDay, timeZone, nextRunAt } = schedule;
  return {
    id,
    name: frequency === 'HOURLY' ? 'Every hour' : `Every day at ${timeOfDay ?? ''} (${timeZone ?? ''})`,
    next: nextRunAt === null || !mayHaveVideo(device) ? null : timeView(nextRunAt, timeZone ?? 'UTC'),
    changes: [...pauseChange(schedule, isCovered), ['delete', 'Delete']],
    pauseText: mayHaveVideo(device) ? pauseText(schedule) : NO_PICTURES,
    lastRun: lastRunText(schedule),
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
