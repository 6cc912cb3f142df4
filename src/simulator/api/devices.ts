import { sharedDevices } from '../state/accounts.js';
import type { Device } from '../state/devices.js';
import { sensorsOf } from '../state/devices.js';
import type { Simulation } from '../state/state.js';
import type { Grant } from '../state/tokens.js';
import type { RingAnswer, RingEndpoint, RingRequest } from './endpoint.js';
import { recordOfBearer, jsonApi, refuse, simulatedFailure, withIntegration } from './json-api.js';

/** A separate resource that a device links to, and that `include` embeds. */
interface Related {
  /** Its JSON:API type. */
  type: string;
  /** Null if Ring knows nothing of it. */
  attributes(device: Device, simulation: Simulation): object | null;
}

/** All capabilities. A device has null for one that it lacks. */
const CAPABILITIES = [
  'video',
  'audio',
  'motion_detection',
  'image_enhancements',
  'battery_status',
  'contact_detection',
  'flood_detection',
  'freeze_detection',
  'tamper_detection',
  'smoke_detection',
  'glass_break_detection',
  'co_detection_listener',
];

const RELATED = {
  status: { type: 'device-status', attributes: statusOf },
  capabilities: { type: 'device-capabilities', attributes: capabilitiesOf },
  location: { type: 'locations', attributes: ({ location }) => location },
  configurations: { type: 'device-configurations', attributes: ({ configurations }) => configurations },
} satisfies Record<string, Related>;
type Relation = keyof typeof RELATED;
export const RELATIONS = Object.keys(RELATED) as Relation[];

/** `GET /v1/devices`: the devices that the user shares with the app. `links.next` is relative, and absent at the end. */
export function devicesEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: 'devices',
    recordOf: (request) => recordOfBearer(simulation, request),
    handle: (request) =>
      withIntegration(simulation, request, ({ user }) => {
        const devices = sharedDevices(user);
        const start = request.query.get('page[key]') ?? '0';
        if (!/^\d{1,9}$/.test(start)) return refuse(400, 'Invalid Page Key', 'Follow links.next as it is.');
        const end = Number(start) + simulation.state.settings.devicesPageSize;
        const links = end < devices.length ? { links: { next: nextOf(request, end) } } : {};
        return answerDevices(simulation, request, devices.slice(Number(start), end), (data) => ({ data, ...links }));
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
      withDevice(simulation, request, ({ device }) =>
        answerDevices(simulation, request, [device], ([data]) => ({ data })),
      ),
    fail: simulatedFailure,
  };
}

/** `GET /v1/devices/{device_id}/status`, `/capabilities`, `/location`, `/configurations` */
export function deviceResourceEndpoint(simulation: Simulation, relation: Relation): RingEndpoint {
  return {
    name: 'device-resource',
    recordOf: (request) => recordOfBearer(simulation, request),
    handle: (request) =>
      withDevice(simulation, request, ({ device }) =>
        jsonApi(200, { data: relatedResource(simulation, device, relation)[0] ?? null, meta: metaOf(simulation) }),
      ),
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

function answerDevices(
  simulation: Simulation,
  { query }: RingRequest,
  devices: Device[],
  documentOf: (resources: object[]) => object,
): RingAnswer {
  const wanted = (query.get('include') ?? '').split(',').filter((name) => name !== '');
  const relations = RELATIONS.filter((relation) => wanted.includes(relation));
  if (relations.length < new Set(wanted).size) {
    return refuse(400, 'Invalid Include', `Known: ${RELATIONS.join(', ')}.`);
  }
  const resources = devices.map((device) => deviceResource(simulation, device, relations));
  const included = devices.flatMap((device) =>
    relations.flatMap((relation) => relatedResource(simulation, device, relation)),
  );
  return jsonApi(200, {
    ...documentOf(resources),
    ...(relations.length > 0 && { included }),
    meta: metaOf(simulation),
  });
}

function deviceResource(simulation: Simulation, device: Device, included: readonly Relation[]): object {
  return {
    type: 'devices',
    id: device.id,
    attributes: { image_url: device.image_url, name: device.name },
    relationships: Object.fromEntries(
      RELATIONS.map((relation) => [
        relation,
        {
          ...(included.includes(relation) && { data: identifierOf(simulation, device, relation) }),
          links: { related: `/v1/devices/${encodeURIComponent(device.id)}/${relation}` },
        },
      ]),
    ),
  };
}

function identifierOf(simulation: Simulation, device: Device, relation: Relation): object | null {
  const { type, attributes } = RELATED[relation];
  return attributes(device, simulation) === null ? null : { type, id: relatedId(device, relation) };
}

function relatedResource(simulation: Simulation, device: Device, relation: Relation): object[] {
  const { type, attributes } = RELATED[relation];
  const known = attributes(device, simulation);
  return known === null ? [] : [{ type, id: relatedId(device, relation), attributes: known }];
}

/** The related resource's own ID. It differs from the device's, although only type and ID together name a resource. */
function relatedId(device: Device, relation: Relation): string {
  return `${device.id}.${relation}`;
}

/** A sensor's status has a member for each thing that it notices. They are independent of each other. */
function statusOf(device: Device, { state }: Simulation): object {
  const sensors = sensorsOf(device).map((sensor) => [sensor, { faulted: device.faulted.includes(sensor) }] as const);
  return {
    audio: { snooze: { active: null, until: null } },
    online: device.online,
    reported_at: withoutMs(device.reported_at ?? state.began_at),
    state: null,
    ...Object.fromEntries(sensors),
  };
}

function capabilitiesOf({ capabilities }: Device): object | null {
  if (capabilities === null) return null;
  return { ...Object.fromEntries(CAPABILITIES.map((name) => [name, null])), ...capabilities };
}

function metaOf({ now }: Simulation): object {
  return { time: withoutMs(now()) };
}

function nextOf({ query }: RingRequest, start: number): string {
  const include = query.get('include');
  return `/v1/devices?${include === null ? '' : `include=${include}&`}page[key]=${start}`;
}

/** Ring writes these times in whole seconds. */
function withoutMs(epochMs: number): string {
  return `${new Date(epochMs).toISOString().slice(0, 19)}Z`;
}
