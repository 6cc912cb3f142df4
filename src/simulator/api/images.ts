import { randomUUID } from 'node:crypto';
import { newPicture } from '../media/pictures.js';
import { isFresh } from '../state/signed-downloads.js';
import type { Simulation } from '../state/state.js';
import { withDevice } from './devices.js';
import type { RingAnswer, RingEndpoint, RingRequest } from './endpoint.js';
import { recordOfBearer, refuse, simulatedFailure } from './json-api.js';

/** `POST /v1/devices/{device_id}/media/image/download`: a redirect to the media host. */
export function imageEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: 'image',
    recordOf: (request) => recordOfBearer(simulation, request),
    handle: (request) =>
      withDevice(simulation, request, ({ user, device }) => {
        if (!device.online) return refuse(503, 'Service Unavailable', 'The device is offline.');
        const download = { account_id: user.account_id, device_id: device.id, at: simulation.now() };
        const signature = simulation.state.downloads.add(download);
        const url = `http://${hostname(request)}:${simulation.mediaPort}/images/${randomUUID()}?signature=${signature}`;
        return { status: 302, headers: { Location: url }, body: '' };
      }),
    fail: simulatedFailure,
  };
}

/** `GET` of a pre-signed URL, on the media host. The signature in the URL is the only credential that it accepts. */
export function mediaEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: 'media',
    recordOf: (request) => {
      const download = simulation.state.downloads.find(request.query.get('signature'));
      return {
        account_id: download?.account_id ?? null,
        facts: {
          device_id: download?.device_id,
          authorization: request.authorization === undefined ? 'absent' : 'present',
        },
      };
    },
    handle: (request) => answerDownload(simulation, request),
    fail: (status) => plainText(status, 'A fault of the Ring simulator.'),
  };
}

function answerDownload({ state, now }: Simulation, request: RingRequest): RingAnswer {
  if (request.authorization !== undefined) return plainText(400, 'Only one way to authorize: the URL or the header.');
  const download = state.downloads.find(request.query.get('signature'));
  if (download === undefined || !isFresh(download, now())) {
    return plainText(403, 'The signature is unknown or older than 60 seconds.');
  }
  const picture = newPicture();
  return {
    status: 200,
    headers: { 'Content-Type': 'image/png', 'Content-Length': String(picture.length), 'Cache-Control': 'no-store' },
    body: picture,
  };
}

/** The host name under which the caller reaches the simulator. The media host has the same, with another port. */
function hostname({ host }: RingRequest): string {
  const url = `http://${host}`;
  return URL.canParse(url) ? new URL(url).hostname : 'localhost';
}

function plainText(status: number, body: string): RingAnswer {
  return { status, headers: { 'Content-Type': 'text/plain; charset=utf-8' }, body };
}
