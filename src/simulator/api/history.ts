import type { Recording } from '../state/recordings.js';
import type { Settings, Simulation } from '../state/state.js';
import { withDevice } from './devices.js';
import type { RingAnswer, RingEndpoint, RingRequest } from './endpoint.js';
import { recordOfBearer, jsonApi, refuse, simulatedFailure } from './json-api.js';

/** The filters of `event_types`. One with a dot is for a class of motions. */
const EVENT_TYPES = [
  'motion',
  'motion.human',
  'motion.vehicle',
  'motion.animal',
  'motion.other_motion',
  'on_demand',
  'ding',
];

/** The key of the empty page that may follow the last one. */
const END = 'end';

/** `GET /v1/history/devices/{device_id}/events`: what was recorded since the user's consent, newest first. */
export function historyEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: 'history',
    recordOf: (request) => recordOfBearer(simulation, request),
    handle: (request) =>
      withDevice(simulation, request, ({ user, integration, device }) => {
        const filters = listIn(request.query.get('event_types'));
        const unknown = filters.find((filter) => !EVENT_TYPES.includes(filter));
        if (unknown !== undefined) return refuse(400, 'Invalid Event Type', `Known: ${EVENT_TYPES.join(', ')}.`);
        const { recordings, settings } = simulation.state;
        const events = recordings
          .of(user.account_id, device.id)
          .filter(({ kind, start }) => kind !== 'snapshot' && start >= integration.consented_at)
          .filter((recording) => filters.length === 0 || filters.some((filter) => isOfType(recording, filter)));
        return answerPage(request, events, settings);
      }),
    fail: simulatedFailure,
  };
}

function isOfType({ kind, sub_type }: Recording, filter: string): boolean {
  return filter === kind || (kind === 'motion' && filter === `motion.${sub_type}`);
}

/** A page begins after the event that its key names, whatever the filter. */
function answerPage(request: RingRequest, events: Recording[], settings: Settings): RingAnswer {
  const key = request.query.get('page[key]');
  if (key === END) return jsonApi(200, { data: [], links: { next: nextOf(request, END, settings) } });
  const position = key === null ? { start: Infinity, id: '' } : readKey(key);
  if (position === undefined) return refuse(400, 'Invalid Page Key', 'Follow links.next as it is.');
  const rest = events.filter((event) => isOlder(event, position)).sort((a, b) => (isOlder(a, b) ? 1 : -1));
  const page = rest.slice(0, settings.historyPageSize);
  const last = page.at(-1);
  const hasNext = page.length < rest.length;
  const nextKey = hasNext && last !== undefined ? keyOf(last) : settings.historyEmptyPage ? END : undefined;
  return jsonApi(200, {
    data: page.map((recording) => eventResource(recording, settings.historyStartOffMs)),
    ...(nextKey !== undefined && { links: { next: nextOf(request, nextKey, settings) } }),
  });
}

/** The place of an event among all of a device. */
type Position = Pick<Recording, 'start' | 'id'>;

/** Two events of the same time are told apart by their IDs, so that no page begins in the middle of them. */
function isOlder(a: Position, b: Position): boolean {
  return a.start < b.start || (a.start === b.start && a.id < b.id);
}

function eventResource({ id, kind, start, end, device_id }: Recording, startOffMs: number): object {
  return {
    type: 'history-events',
    id,
    attributes: { event_type: kind, is_third_party_reviewed: true, start: start + startOffMs, end },
    relationships: { source: { data: { type: 'devices', id: device_id } }, cv_detections: { data: [] } },
    meta: { riid: null },
  };
}

function nextOf({ params, query }: RingRequest, key: string, { historyNext }: Settings): string {
  const filter = query.get('event_types');
  const kept = filter !== null && historyNext === 'whole' ? `event_types=${listIn(filter).join(',')}&` : '';
  return `/v1/history/devices/${encodeURIComponent(params.device_id ?? '')}/events?${kept}page[key]=${key}`;
}

function keyOf({ start, id }: Position): string {
  return Buffer.from(`${start} ${id}`).toString('base64url');
}

function readKey(key: string): Position | undefined {
  const [, start, id] = /^(\d{1,15}) (.+)$/.exec(Buffer.from(key, 'base64url').toString()) ?? [];
  return start === undefined || id === undefined ? undefined : { start: Number(start), id };
}

function listIn(text: string | null): string[] {
  return (text ?? '').split(',').filter((one) => one !== '');
}
