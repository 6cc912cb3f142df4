import { Router } from 'express';
import { readClipRequest } from '../api/clips.js';
import type { RingAnswer, RingEndpoint, RingRequest } from '../api/endpoint.js';
import { serve } from '../api/endpoint.js';
import { readImageRequest } from '../api/images.js';
import { bearerToken, jsonApi, refuse, simulatedFailure, unauthorized } from '../api/json-api.js';
import { failMedia, refuseMedia } from '../api/media-errors.js';
import type { ReadBody } from '../api/media-requests.js';
import { readMediaRequest } from '../api/media-requests.js';
import type { MediaErrorCode, RingEndpointName } from '../state/faults.js';
import type { Simulation } from '../state/state.js';
import { DEVICES, HISTORY_ON_DEMAND } from './answers.js';

interface Resource {
  type: string;
  id: string;
}
interface Relationship {
  data: Resource;
  links: object;
}
interface Device extends Resource {
  relationships: Record<string, Relationship>;
}
interface Recorded {
  data: Device[];
  included: Resource[];
  meta: object;
}

const RECORDED = JSON.parse(DEVICES) as Recorded;
const RELATIONS = Object.keys(RECORDED.data[0]?.relationships ?? {});

/** The Playground's account. Its answer was not recorded, so it is as documented, and tells nothing of the person. */
const USER = { type: 'users', id: 'ava1.ring.account.GGGG6666', attributes: {} };

/**
 * The Vision API as the Playground's token meets it: answers that were recorded, and answers that were observed without
 * a recording. What was not observed follows from the token, which may only read. Passes on while the setting
 * `recordedToken` is null.
 */
export function recordedRing(simulation: Simulation): Router {
  const router = Router();
  const answer = (name: RingEndpointName | null, handle: (request: RingRequest) => RingAnswer) =>
    serve(simulation, forToken(simulation, name, handle));

  router.use((_request, _response, next) => {
    next(simulation.state.settings.recordedToken === null ? 'router' : undefined);
  });
  router.get('/users/me', serve(simulation, usersMe(simulation)));
  router.get('/devices', answer('devices', answerDevices));
  router.get('/devices/:device_id', answer('device', answerDevice));
  for (const relation of RELATIONS) {
    router.get(
      `/devices/:device_id/${relation}`,
      answer('device-resource', (request) => answerResource(request, relation)),
    );
  }
  router.get('/history/devices/:device_id/events', answer('history', answerHistory));
  router.get(
    '/accounts/me/subscriptions',
    answer('subscriptions', () => refuse(422, 'Unprocessable Entity', 'There are no subscriptions for this token.')),
  );
  const readImage: ReadBody = (body, now) => readImageRequest(body, now, 'jpeg');
  router.post('/devices/:device_id/media/image/download', serve(simulation, media(simulation, 'image', readImage)));
  router.post(
    '/devices/:device_id/media/video/download',
    serve(simulation, media(simulation, 'clip', readClipRequest)),
  );
  router.use(
    answer(null, ({ method }) =>
      method === 'GET' ? notFound() : refuse(403, 'Out of Scope Access', 'This token may only read.'),
    ),
  );
  return router;
}

function forToken(
  simulation: Simulation,
  name: RingEndpointName | null,
  handle: (request: RingRequest) => RingAnswer,
): RingEndpoint {
  return {
    name,
    recordOf: (request) => ({
      account_id: isToken(simulation, request) ? USER.id : null,
      facts: { device_id: request.params.device_id },
    }),
    handle: (request) => (isToken(simulation, request) ? handle(request) : unauthorized('unknown')),
    fail: simulatedFailure,
  };
}

/** A bad token is 403 here. */
function usersMe(simulation: Simulation): RingEndpoint {
  return {
    ...forToken(simulation, 'users-me', notFound),
    handle: (request) =>
      isToken(simulation, request) ? jsonApi(200, { data: USER }) : refuse(403, 'Forbidden', 'Unknown access token.'),
  };
}

function isToken({ state }: Simulation, request: RingRequest): boolean {
  return bearerToken(request) === state.settings.recordedToken;
}

function answerDevices(request: RingRequest): RingAnswer {
  const relations = readInclude(request);
  // The answer that was recorded is given as it is.
  if (relations.length === RELATIONS.length) return recorded(DEVICES);
  return jsonApi(200, { data: RECORDED.data.map((device) => withData(device, relations)), ...besidesData(relations) });
}

function answerDevice(request: RingRequest): RingAnswer {
  const device = deviceOf(request);
  const relations = readInclude(request);
  return device === undefined
    ? notFound()
    : jsonApi(200, { data: withData(device, relations), ...besidesData(relations) });
}

function answerResource(request: RingRequest, relation: string): RingAnswer {
  const data = includedIn(deviceOf(request), relation);
  return data === undefined ? notFound() : jsonApi(200, { data, meta: RECORDED.meta });
}

/** There were live views and nothing else. */
function answerHistory(request: RingRequest): RingAnswer {
  if (deviceOf(request) === undefined) return notFound();
  const types = request.query.get('event_types');
  const hasLiveViews = types === null || types.split(',').includes('on_demand');
  return hasLiveViews ? recorded(HISTORY_ON_DEMAND) : jsonApi(200, { data: [] });
}

/** Any time that can be asked for is before the consent. */
function media(simulation: Simulation, name: 'image' | 'clip', read: ReadBody): RingEndpoint {
  const refuseFor = (code: MediaErrorCode, detail: string): RingAnswer => refuseMedia(simulation, { code, detail });
  return {
    ...forToken(simulation, name, notFound),
    handle: (request) => {
      if (!isToken(simulation, request)) return refuseFor('UNAUTHORIZED', 'Unknown access token.');
      if (deviceOf(request) === undefined) return refuseFor('DEVICE_NOT_FOUND', 'The app sees no such device.');
      const reading = readMediaRequest(request, simulation.now(), Infinity, read);
      return reading.kind === 'bad' ? refuseMedia(simulation, reading) : notFound();
    },
    fail: failMedia(simulation, name === 'image' ? 'MEDIA_NOT_FOUND' : 'TIMESTAMP_NOT_FOUND'),
  };
}

function readInclude({ query }: RingRequest): string[] {
  const wanted = (query.get('include') ?? '').split(',');
  return RELATIONS.filter((relation) => wanted.includes(relation));
}

function deviceOf({ params }: RingRequest): Device | undefined {
  return RECORDED.data.find(({ id }) => id === params.device_id);
}

/** A relationship that was not asked for has a link and no data. */
function withData(device: Device, relations: readonly string[]): object {
  const relationships = Object.entries(device.relationships).map(([relation, relationship]) => [
    relation,
    relations.includes(relation) ? relationship : { links: relationship.links },
  ]);
  return { ...device, relationships: Object.fromEntries(relationships) as object };
}

/** The members of an answer beside its `data`. */
function besidesData(relations: readonly string[]): object {
  const included = RECORDED.data.flatMap((device) => relations.map((relation) => includedIn(device, relation)));
  return { ...(relations.length > 0 && { included }), meta: RECORDED.meta };
}

function includedIn(device: Device | undefined, relation: string): Resource | undefined {
  const wanted = device?.relationships[relation]?.data;
  return RECORDED.included.find(({ type, id }) => type === wanted?.type && id === wanted.id);
}

function recorded(body: string): RingAnswer {
  return { status: 200, headers: { 'Content-Type': 'application/vnd.api+json' }, body };
}

function notFound(): RingAnswer {
  return refuse(404, 'Not Found', 'The Playground has nothing here.');
}
