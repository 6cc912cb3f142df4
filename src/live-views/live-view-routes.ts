import { type Request, type RequestHandler, type Response, Router, text } from 'express';
import { z } from 'zod';
import type { Core } from '../core.js';
import { NO_LIVE_VIEW } from '../devices/device-kind.js';
import { pathOfDevice } from '../devices/device-view.js';
import { noSuchDevice, uncoveredDevice } from '../devices/no-such-device.js';
import { BODY_LIMITS } from '../http/body-limits.js';
import { HttpError, methodNotAllowed, problemDetails } from '../http/errors.js';
import { networkOf } from '../http/networks.js';
import { createPlaces, type FullBound, type PlaceBounds } from '../http/places.js';
import type { RateLimits } from '../http/rate-limits.js';
import { refetchDevice } from '../ring-accounts/refetch.js';
import { isGone, RingError } from '../ring/errors.js';
import type { OpenedLiveView } from '../ring/live-view.js';
import { NoLinkError } from '../tokens/errors.js';
import { csrfHeaderProtection } from '../users/csrf.js';
import { signedInOrRefused, userIdOf } from '../users/current-user.js';
import {
  beginLiveView,
  closeLiveView,
  type EndReason,
  failLiveView,
  findLiveView,
  type LiveViewAddress,
  recordOpened,
} from './live-views.js';

export interface LiveViewDependencies extends Pick<Core, 'db' | 'ring' | 'tokens' | 'clock' | 'log' | 'coverage'> {
  limits: RateLimits;
}

const SDP = 'application/sdp';

/** The most live views that are being opened at once: each waits for Ring. */
export const OPENING_PLACES: PlaceBounds = { ofUser: 6, ofNetwork: 40, ofProcess: 100 };

const ViewId = z.uuid();

/**
 * Live views for WHEP clients of the user's own browser: `POST` an SDP offer, get Ring's answer, `DELETE` the address in
 * its `Location`. Ring takes no calls from browsers, so this server goes between; the video itself does not pass here.
 *
 * @see https://developer.amazon.com/docs/ring/api-documentation.html
 */
export function liveViewRoutes(dependencies: LiveViewDependencies): Router {
  const { db, clock, limits } = dependencies;
  const opening = createPlaces(OPENING_PLACES);
  const router = Router();

  const all = router.route('/devices/:deviceId/live-views');
  all.post(
    signedInOrRefused,
    csrfHeaderProtection,
    sdpOnly,
    text({ type: SDP, limit: BODY_LIMITS.sdp_offer }),
    async (request: Request<{ deviceId: string }>, response) => {
      const { deviceId } = request.params;
      const offer = offerOf(request);
      const userId = userIdOf(request);
      await limits.liveView.consume(userId);
      const leave = opening.take(userId, networkOf(request.ip));
      if (typeof leave === 'string') throw noPlace(leave);
      const { id, answer } = await open(dependencies, { userId, deviceId, offer }).finally(leave);
      // The browser has gone, and only it would have learned the address.
      if (response.closed) await closeLiveView(db, { id, deviceId, userId }, clock());
      response
        .status(201)
        .set({ Location: `${pathOfDevice(deviceId)}/live-views/${id}`, 'Content-Type': SDP })
        .send(answer);
    },
  );
  all.all(methodNotAllowed('POST'));

  const one = router.route('/devices/:deviceId/live-views/:viewId');
  one.get(signedInOrRefused, async (request: Request<ViewParameters>, response: Response) => {
    const view = await findLiveView(db, addressOf(request));
    if (view === undefined) throw noSuchView();
    const { status, end_reason: endReason, expires_at: expiresAt } = view;
    // Ring has named no address that would close it.
    const endsByItself = status === 'OPEN' && view.session_path === null;
    // Seconds by our clock: the browser's may differ.
    const secondsLeft = Math.max(0, Math.ceil((expiresAt.getTime() - clock().getTime()) / 1_000));
    response.json({ status, endReason, expiresAt: expiresAt.toISOString(), secondsLeft, endsByItself });
  });
  one.delete(signedInOrRefused, csrfHeaderProtection, async (request: Request<ViewParameters>, response: Response) => {
    if (!(await closeLiveView(db, addressOf(request), clock()))) throw noSuchView();
    response.status(204).end();
  });
  one.all(methodNotAllowed('GET', 'HEAD', 'DELETE'));

  router.use('/devices/:deviceId/live-views', problemDetails);
  return router;
}

function noPlace(full: FullBound): HttpError {
  const soon = { retryAfterSeconds: 5 };
  switch (full) {
    case 'ofUser':
      return new HttpError(429, 'You are opening too many live views at once. Wait a moment.', soon);
    case 'ofNetwork':
    case 'ofProcess':
      return new HttpError(503, 'Many live views are being opened right now. Please try again in a moment.', soon);
  }
}

interface ViewParameters {
  deviceId: string;
  viewId: string;
}

interface Opening {
  userId: string;
  deviceId: string;
  offer: string;
}

/** Opens a live view, or says why not. @throws {HttpError} */
async function open(
  { db, ring, tokens, clock, log, coverage }: LiveViewDependencies,
  { userId, deviceId, offer }: Opening,
): Promise<{ id: string; answer: string }> {
  const begun = await beginLiveView({ db, coverage }, userId, deviceId, clock());
  if (begun === undefined) throw noSuchDevice();
  if (begun.kind === 'uncovered') throw uncoveredDevice();
  if (begun.kind !== 'opening') throw begun.kind === 'offline' ? offline() : new HttpError(409, NO_LIVE_VIEW);
  const { id, device } = begun;

  let session: OpenedLiveView;
  try {
    session = await tokens.forAccount(device.accountId, (accessToken) =>
      ring.openLiveView(accessToken, device.id, offer),
    );
  } catch (error) {
    await failLiveView(db, id, clock());
    if (isGone(error) || isOffline(error))
      await refetchDevice(db, { accountId: device.accountId, deviceId, occurredAt: clock() });
    log.warn({ err: error, liveViewId: id }, 'a live view is not opened');
    throw refusalOf(error);
  }
  const opened = { id, accountId: device.accountId, sessionPath: session.sessionPath };
  const endReason = await recordOpened(db, opened, clock());
  if (endReason !== null) throw endedWhileOpening(endReason);
  return { id, answer: session.answer };
}

function refusalOf(error: unknown): unknown {
  if (isGone(error) || error instanceof NoLinkError) return noSuchDevice(error);
  if (!(error instanceof RingError)) return error;
  if (isOffline(error)) {
    return new HttpError(503, 'The device is offline right now. Check that it has power and Wi-Fi, then try again.', {
      cause: error,
      retryAfterSeconds: error.retryAfterSeconds ?? 10,
    });
  }
  if (error.kind === 'rejected' && error.status === 400) {
    return new HttpError(400, 'Ring does not accept this SDP offer.', { cause: error });
  }
  return new HttpError(502, 'Ring could not open the live view. Please try again in a moment.', {
    cause: error,
    ...(error.retryAfterSeconds !== undefined && { retryAfterSeconds: error.retryAfterSeconds }),
  });
}

/** Ring's answer for a device that is offline. We may not have been told so yet. */
const isOffline = (error: unknown): boolean =>
  error instanceof RingError && error.kind === 'unavailable' && error.status === 503;

function endedWhileOpening(reason: EndReason): HttpError {
  switch (reason) {
    case 'DEVICE_REMOVED':
    case 'LINK_REMOVED':
      return noSuchDevice();
    case 'DEVICE_OFFLINE':
      return offline();
    case 'SUBSCRIPTION':
      return uncoveredDevice();
    case 'CLOSED':
      return new HttpError(409, 'The live view was closed while it opened.');
    case 'TIME_LIMIT':
    case 'FAILED':
      return new HttpError(503, 'The live view took too long to open. Please try again.', { retryAfterSeconds: 1 });
  }
}

const noSuchView = (): HttpError => new HttpError(404, 'There is no such live view.');

const offline = (): HttpError =>
  new HttpError(409, 'The device is offline. A live view is possible as soon as it is online again.');

const sdpOnly: RequestHandler = (request, _response, next) => {
  const [type = ''] = (request.get('content-type') ?? '').split(';');
  if (type.trim().toLowerCase() !== SDP) throw new HttpError(415, `Send the SDP offer as ${SDP}.`);
  next();
};

/** @throws {HttpError} 400 */
function offerOf(request: Pick<Request, 'body'>): string {
  const offer: unknown = request.body;
  if (typeof offer !== 'string' || !offer.startsWith('v=0')) throw new HttpError(400, 'The body is no SDP offer.');
  return offer;
}

/** @throws {HttpError} 404 */
function addressOf(request: Request<ViewParameters>): LiveViewAddress {
  const id = ViewId.safeParse(request.params.viewId);
  // Postgres stores no NUL in a text column.
  if (!id.success || request.params.deviceId.includes('\0')) throw noSuchView();
  return { id: id.data, deviceId: request.params.deviceId, userId: userIdOf(request) };
}
