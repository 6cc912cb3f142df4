import { type Request, type RequestHandler, type Response, Router } from 'express';
import { z } from 'zod';
import { nameOfDevice, pathOfDevice, timeView, type TimeView } from '../devices/device-view.js';
import { pathOfEventPicture, pathOfPicture } from '../devices/picture-paths.js';
import { lockDeviceOfUser, type UserDevice } from '../devices/user-devices.js';
import { presentIdOf } from '../events/record-events.js';
import { HttpError, methodNotAllowed } from '../http/errors.js';
import { limitCaller, type RateLimits } from '../http/rate-limits.js';
import { render } from '../http/render.js';
import { seeOther } from '../http/see-other.js';
import { markPictureDeleted, setEventPictures } from '../inventory/device-rows.js';
import {
  type EventWithPicture,
  type FetchDependencies,
  fetchPicture,
  findEventWithPicture,
} from '../pictures/fetch-picture.js';
import { noticeOf, type PictureNotice } from '../pictures/outcome-words.js';
import { dropAutomatic, requestOf } from '../pictures/picture-requests.js';
import { deletePicture, findPicture, picturesOf } from '../pictures/pictures.js';
import { NoLinkError } from '../tokens/errors.js';
import { csrfProtection, csrfToken } from '../users/csrf.js';
import { signedInOrHome, userIdOf } from '../users/current-user.js';
import { requireCamera, requiredCoveredDevice, requiredDevice } from './required-device.js';

declare module '../http/render.js' {
  interface Views {
    picture: {
      title: string;
      csrfToken: string;
      path: string;
      device: { name: string; href: string };
      takenAt: TimeView;
      newer: string | null;
      older: string | null;
    };
    'event-picture': {
      title: string;
      csrfToken: string;
      path: string;
      device: { name: string; href: string };
      at: TimeView;
      notice: PictureNotice | null;
      button: string;
    };
  }
}

export interface PicturePagesDependencies extends FetchDependencies {
  limits: RateLimits;
}

type DeviceParameters = { deviceId: string };
type PictureParameters = DeviceParameters & { snapshotId: string };
type EventParameters = DeviceParameters & { eventId: string };

const Id = z.uuid();
/** Ring's, of whatever version: its webhook was taken with it. */
const EventId = z.guid();

/** The pictures of a device: asked for, looked at, downloaded and deleted. */
export function picturePages(dependencies: PicturePagesDependencies): Router {
  const { db, clock, limits } = dependencies;
  const router = Router();

  function deviceOf(request: Request<DeviceParameters>): Promise<UserDevice> {
    return requiredDevice(db, userIdOf(request), request.params.deviceId);
  }

  function coveredDeviceOf(request: Request<DeviceParameters>): Promise<UserDevice> {
    return requiredCoveredDevice(dependencies, userIdOf(request), request.params.deviceId);
  }

  /** Asks Ring, and leads to where what came of it is told. */
  async function fetchAndLead(
    request: Request<DeviceParameters>,
    response: Response,
    device: UserDevice,
    event: EventWithPicture | null,
  ): Promise<void> {
    try {
      const pictureId = await fetchPicture(dependencies, userIdOf(request), device, event);
      if (event === null) seeOther(response, `${pathOfDevice(device.id)}#pictures`);
      else if (pictureId === undefined) seeOther(response, pathOfEventPicture(device.id, event.id));
      else seeOther(response, pathOfPicture(device.id, pictureId));
    } catch (error) {
      if (!(error instanceof NoLinkError)) throw error;
      // The home page tells how the link stands.
      seeOther(response, '/ring/home');
    }
  }

  const pictures = router.route('/devices/:deviceId/snapshots');
  pictures.post(signedInOrHome, csrfProtection, async (request: Request<DeviceParameters>, response) => {
    await limits.picture.consume(userIdOf(request));
    const device = await coveredDeviceOf(request);
    requireCamera(device);
    await fetchAndLead(request, response, device, null);
  });
  pictures.get(backToDevice);
  pictures.all(methodNotAllowed('POST'));

  const automatic = router.route('/devices/:deviceId/event-pictures');
  automatic.post(signedInOrHome, csrfProtection, async (request: Request<DeviceParameters>, response) => {
    const isOn = Switch.parse(request.body).on === 'yes';
    // Switching it off asks for nothing that a subscription would have to cover.
    const device = await (isOn ? coveredDeviceOf(request) : deviceOf(request));
    requireCamera(device);
    await db.transaction(async (trx) => {
      // The device is locked first, as by whatever adds a picture.
      if ((await lockDeviceOfUser(trx, userIdOf(request), device.id)) === undefined) return;
      await setEventPictures(trx, device, isOn);
      if (!isOn) await dropAutomatic(trx, device);
    });
    seeOther(response, `${pathOfDevice(device.id)}#pictures`);
  });
  automatic.get(backToDevice);
  automatic.all(methodNotAllowed('POST'));

  const ofEvent = router.route('/devices/:deviceId/events/:eventId/snapshot');
  ofEvent.post(signedInOrHome, csrfProtection, async (request: Request<EventParameters>, response) => {
    await limits.picture.consume(userIdOf(request));
    const device = await coveredDeviceOf(request);
    const event = await requireEvent(device, request.params.eventId);
    const kept = await requestOf(db, device, event.id, clock());
    if (kept?.pictureId != null) seeOther(response, pathOfPicture(device.id, kept.pictureId));
    else if (kept?.status === 'WAITING' && !kept.isAutomatic)
      seeOther(response, pathOfEventPicture(device.id, event.id));
    else {
      // One that was asked for by itself may wait for its turn: who clicks does not.
      requireCamera(device);
      await fetchAndLead(request, response, device, event);
    }
  });
  ofEvent.get(limitCaller(limits.visit), signedInOrHome, async (request: Request<EventParameters>, response) => {
    const device = await coveredDeviceOf(request);
    const event = await requireEvent(device, request.params.eventId);
    const asked = await requestOf(db, device, event.id, clock());
    if (asked?.pictureId != null) {
      seeOther(response, pathOfPicture(device.id, asked.pictureId));
      return;
    }
    requireCamera(device);
    render(response, 'event-picture', {
      title: 'Picture of an event',
      csrfToken: await csrfToken(request),
      path: pathOfEventPicture(device.id, event.id),
      device: { name: nameOfDevice(device.name), href: pathOfDevice(device.id) },
      at: timeView(event.occurredAt),
      notice: noticeOf(asked, 'event', clock()),
      button: asked === undefined || asked.status === 'WAITING' ? 'Show the picture' : 'Ask again',
    });
  });
  ofEvent.all(methodNotAllowed('GET', 'HEAD', 'POST'));

  /** @throws {HttpError} 404 */
  async function requireEvent(device: UserDevice, eventId: string): Promise<EventWithPicture> {
    const id = EventId.safeParse(eventId);
    const event = id.success ? await findEvent(device, id.data) : undefined;
    if (event === undefined) throw new HttpError(404, 'There is no such event, or it has no picture.');
    return event;
  }

  /** Also by the ID that the event had before its webhook came: a page may still show that. */
  async function findEvent(device: UserDevice, id: string): Promise<EventWithPicture | undefined> {
    const event = await findEventWithPicture(db, device, id);
    if (event !== undefined) return event;
    const presentId = await presentIdOf(db, device, id);
    return presentId === undefined ? undefined : findEventWithPicture(db, device, presentId);
  }

  const picture = router.route('/devices/:deviceId/snapshots/:snapshotId');
  picture.get(signedInOrHome, async (request: Request<PictureParameters>, response) => {
    await sendPicture(request, response);
  });
  picture.all(methodNotAllowed('GET', 'HEAD'));

  const download = router.route('/devices/:deviceId/snapshots/:snapshotId/download');
  download.get(signedInOrHome, async (request: Request<PictureParameters>, response) => {
    await sendPicture(request, response, 'as a file');
  });
  download.all(methodNotAllowed('GET', 'HEAD'));

  async function sendPicture(
    request: Request<PictureParameters>,
    response: Response,
    how?: 'as a file',
  ): Promise<void> {
    const { content_type, picture: bytes, taken_at } = await requirePicture(await coveredDeviceOf(request), request);
    response.set({ 'Content-Type': content_type, 'Content-Security-Policy': PICTURE_POLICY });
    if (how === 'as a file') {
      const name = taken_at.toISOString().replaceAll(/[:.]/g, '-');
      const ending = content_type === 'image/png' ? 'png' : 'jpg';
      response.set('Content-Disposition', `attachment; filename="picture-${name}.${ending}"`);
    }
    response.send(bytes);
  }

  /** @throws {HttpError} 404 */
  async function requirePicture(device: UserDevice, { params }: Request<PictureParameters>) {
    const pictureId = Id.safeParse(params.snapshotId);
    const found = pictureId.success ? await findPicture(db, device, pictureId.data) : undefined;
    if (found === undefined) throw noSuchPicture();
    return found;
  }

  const viewer = router.route('/devices/:deviceId/snapshots/:snapshotId/view');
  viewer.get(limitCaller(limits.visit), signedInOrHome, async (request: Request<PictureParameters>, response) => {
    const device = await coveredDeviceOf(request);
    const kept = await picturesOf(db, device);
    const place = kept.findIndex(({ id }) => id === request.params.snapshotId);
    const shown = kept[place];
    if (shown === undefined) throw noSuchPicture();
    const [newer, older] = [kept[place - 1], kept[place + 1]];
    const name = nameOfDevice(device.name);
    render(response, 'picture', {
      title: `Picture of ${name}`,
      csrfToken: await csrfToken(request),
      path: `${pathOfDevice(device.id)}/snapshots/${shown.id}`,
      device: { name, href: pathOfDevice(device.id) },
      takenAt: timeView(shown.taken_at),
      newer: newer === undefined ? null : pathOfPicture(device.id, newer.id),
      older: older === undefined ? null : pathOfPicture(device.id, older.id),
    });
  });
  viewer.all(methodNotAllowed('GET', 'HEAD'));

  const deletion = router.route('/devices/:deviceId/snapshots/:snapshotId/delete');
  deletion.post(signedInOrHome, csrfProtection, async (request: Request<PictureParameters>, response) => {
    const device = await deviceOf(request);
    const pictureId = Id.safeParse(request.params.snapshotId);
    if (!pictureId.success) throw noSuchPicture();
    await db.transaction(async (trx) => {
      // The device is locked first, as by whatever adds a picture.
      if ((await lockDeviceOfUser(trx, userIdOf(request), device.id)) === undefined) return;
      const takenAt = await deletePicture(trx, device, pictureId.data);
      if (takenAt !== undefined) await markPictureDeleted(trx, device, takenAt);
    });
    seeOther(response, `${pathOfDevice(device.id)}#pictures`);
  });
  deletion.get(backToDevice);
  deletion.all(methodNotAllowed('POST'));
  return router;
}

const Switch = z.object({ on: z.enum(['yes', 'no']).catch('no') });

const noSuchPicture = (): HttpError => new HttpError(404, 'There is no such picture. Only the newest ones are kept.');

/** A picture that is opened by itself is shown by the browser in a page of its own, which has a style in it. */
const PICTURE_POLICY = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'";

/** A failed form leaves its address in the browser; reloading it should lead back to the page. */
const backToDevice: RequestHandler<DeviceParameters> = (request, response) => {
  seeOther(response, pathOfDevice(request.params.deviceId));
};
