import { sharedDevices } from '../state/accounts.js';
import type { Device } from '../state/devices.js';
import type { Simulation } from '../state/state.js';
import type { Grant } from '../state/tokens.js';
import type { RingAnswer, RingEndpoint, RingRequest } from './endpoint.js';
import { recordOfBearer, jsonApi, refuse, simulatedFailure, withIntegration } from './json-api.js';

/** A separate resource that a device links to, and that `include` embeds. */
interface Related {
  /** Its JSON:API type. */
  type: string;
  /** Null if Ring knows nothing of it. */
  attributes(device: Device): object | null;
}

const RELATED = {
  status: { type: 'device-status', attributes: ({ online }) => ({ online }) },
  capabilities: { type: 'device-capabilities', attributes: ({ capabilities }) => capabilities },
  configurations: { type: 'device-configurations', attributes: ({ configurations }) => configurations },
  location: { type: 'locations', attributes: ({ location }) => location },
} satisfies Record<string, Related>;
type Relation = keyof typeof RELATED;
const RELATIONS = Object.keys(RELATED) as Relation[];

/** `GET /v1/devices`: the devices that the user shares with the app. */
export function devicesEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: 'devices',
    recordOf: (request) => recordOfBearer(simulation, request),
    handle: (request) =>
      withIntegration(simulation, request, ({ user }) => {
        const devices = sharedDevices(user);
        return answerDevices(request, devices.map(deviceResource), devices);
      }),
    fail: simulatedFailure,
  };
}

/** `GET /v1/devices/{device_id}` */
export function deviceEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: 'device',
    recordOf: (request) => recordOfBearer(simulation, request),
    handle: (request) =>
      withDevice(simulation, request, ({ device }) => answerDevices(request, deviceResource(device), [device])),
    fail: simulatedFailure,
  };
}

/** Acts on the device in the path. Answers 404 if the user doesn't share it with the app, or no longer. */
export function withDevice<Answer extends RingAnswer | Promise<RingAnswer>>(
  simulation: Simulation,
  request: RingRequest,
  act: (granted: Grant & { device: Device }) => Answer,
): Answer | RingAnswer {
  return withIntegration<Answer | RingAnswer>(simulation, request, (grant) => {
    const device = sharedDevices(grant.user).find(({ id }) => id === request.params.device_id);
    if (device === undefined) return refuse(404, 'Not Found', 'The app sees no such device.');
    return act({ ...grant, device });
  });
}

function answerDevices({ query }: RingRequest, data: object, devices: Device[]): RingAnswer {
  const wanted = (query.get('include') ?? '').split(',').filter((name) => name !== '');
  const relations = RELATIONS.filter((relation) => wanted.includes(relation));
  if (relations.length < new Set(wanted).size) {
    return refuse(400, 'Invalid Include', `Known: ${RELATIONS.join(', ')}.`);
  }
  if (relations.length === 0) return jsonApi(200, { data });
  const included = devices.flatMap((device) => relations.flatMap((relation) => relatedResource(device, relation)));
  return jsonApi(200, { data, included });
}

function deviceResource(device: Device): object {
  return {
    type: 'devices',
    id: device.id,
    attributes: { name: device.name },
    relationships: Object.fromEntries(RELATIONS.map((relation) => [relation, relationship(device, relation)])),
  };
}

function relationship(device: Device, relation: Relation): object {
  const { type, attributes } = RELATED[relation];
  return {
    data: attributes(device) === null ? null : { type, id: relatedId(device, relation) },
    links: { related: `/v1/devices/${encodeURIComponent(device.id)}/${relation}` },
  };
}

function relatedResource(device: Device, relation: Relation): object[] {
  const { type, attributes } = RELATED[relation];
  const known = attributes(device);
  return known === null ? [] : [{ type, id: relatedId(device, relation), attributes: known }];
}

/** The related resource's own ID. It differs from the device's, although only type and ID together name a resource. */
function relatedId(device: Device, relation: Relation): string {
  return `${device.id}.${relation}`;
}
