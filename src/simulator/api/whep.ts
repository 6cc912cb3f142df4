import type { Offer } from '../media/sdp.js';
import { answerOffer, canBePlayed, readOffer } from '../media/sdp.js';
import { hasVideo } from '../state/devices.js';
import type { Simulation } from '../state/state.js';
import { withDevice } from './devices.js';
import type { RingAnswer, RingEndpoint, RingRequest } from './endpoint.js';
import { recordOfBearer, refuse, simulatedFailure } from './json-api.js';

/**
 * `POST /v1/devices/{device_id}/media/streaming/whep/sessions`: an SDP offer starts a live view. A device without video
 * is answered as one that isn't there: Ring's pages have no answer of its own for it. `component_id` is taken and not
 * looked at.
 */
export function whepPostEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: 'whep-post',
    recordOf: (request) => recordOfBearer(simulation, request),
    handle: (request) =>
      withDevice(simulation, request, async ({ user, device }) => {
        if (!hasVideo(device)) return refuse(404, 'Not Found', 'The device has no video.');
        if (request.contentType !== 'application/sdp') return badRequest('Send an offer as application/sdp.');
        const reading = readOffer(request.body);
        if (reading.kind === 'bad') return badRequest(reading.problem);
        if (!device.online) return refuse(503, 'Device Unavailable', 'The device is offline.');
        if (simulation.streams.isFull) return refuse(429, 'Too Many Requests', 'Too many live views are played.');
        const { liveViews } = simulation.state;
        const sessionId = liveViews.open(user.account_id, device.id, device.power);
        const headers = { 'Content-Type': 'application/sdp', ...locationOf(simulation, request, sessionId) };
        try {
          return { status: 201, headers, body: await beginStream(simulation, sessionId, request.body, reading.offer) };
        } catch {
          liveViews.discard(sessionId);
          return badRequest('The offer could not be used.');
        }
      }),
    fail: simulatedFailure,
  };
}

/** `DELETE /v1/devices/{device_id}/media/streaming/whep/sessions/{session_id}`: ends a live view. */
export function whepDeleteEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: 'whep-delete',
    recordOf: (request) => recordOfBearer(simulation, request),
    handle: (request) =>
      withDevice(simulation, request, ({ user, device }) => {
        const sessionId = request.params.session_id ?? '';
        if (simulation.state.liveViews.close(user.account_id, device.id, sessionId)) {
          return { status: 200, headers: {}, body: '' };
        }
        return refuse(404, 'Not Found', 'There is no such live view, or it is over.');
      }),
    fail: simulatedFailure,
  };
}

/**
 * Returns the SDP answer. The offer of a browser gets a moving picture. An offer without what a connection needs gets
 * an answer that nothing listens behind: it was written by hand, to see how Ring answers.
 */
function beginStream(
  { state, streams }: Simulation,
  sessionId: string,
  text: string,
  offer: Offer,
): string | Promise<string> {
  if (!canBePlayed(offer)) return answerOffer(offer);
  return streams.begin(text, () => state.liveViews.isOpen(sessionId), state.lifetime.signal);
}

function locationOf({ state }: Simulation, { host, params }: RingRequest, sessionId: string): { Location?: string } {
  const deviceId = encodeURIComponent(params.device_id ?? '');
  const path = `/v1/devices/${deviceId}/media/streaming/whep/sessions/${sessionId}`;
  switch (state.settings.whepLocation) {
    case 'absolute':
      return { Location: `http://${host}${path}` };
    case 'relative':
      return { Location: path };
    case 'missing':
      return {};
    case 'other-origin':
      return { Location: `http://elsewhere.invalid${path}` };
    case 'unreadable':
      return { Location: 'http://[' };
    case 'trailing-slash':
      return { Location: `http://${host}${path}/` };
  }
}

function badRequest(detail: string): RingAnswer {
  return refuse(400, 'Bad Request', detail);
}
