import type { Simulation } from '../state/state.js';
import type { Subscription } from '../state/subscriptions.js';
import type { RingAnswer, RingEndpoint } from './endpoint.js';
import { recordOfBearer, jsonApi, refuse, simulatedFailure, withIntegration } from './json-api.js';

const PATH = '/v1/accounts/me/subscriptions';
const PAGE_SIZE = 25;

/** `GET /v1/accounts/me/subscriptions`, 25 on a page. `links.next` is relative, and absent on the last page. */
export function subscriptionsEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: 'subscriptions',
    recordOf: (request) => recordOfBearer(simulation, request),
    handle: (request) =>
      withIntegration(simulation, request, ({ user }) =>
        answerPage(user.subscriptions, request.query.get('page[cursor]')),
      ),
    fail: simulatedFailure,
  };
}

/** A cursor is the ID of the last subscription on the page before. */
function answerPage(subscriptions: Subscription[], cursor: string | null): RingAnswer {
  const before = cursor === null ? -1 : subscriptions.findIndex(({ id }) => id === readCursor(cursor));
  if (cursor !== null && before === -1) return refuse(400, 'Invalid Cursor', 'Follow links.next as it is.');
  const page = subscriptions.slice(before + 1, before + 1 + PAGE_SIZE);
  const last = page.at(-1);
  const hasNext = last !== undefined && last !== subscriptions.at(-1);
  const links = hasNext ? { links: { next: `${PATH}?page[cursor]=${cursorOf(last)}` } } : {};
  return jsonApi(200, { data: page.map(subscriptionResource), ...links });
}

function cursorOf({ id }: Subscription): string {
  return Buffer.from(id).toString('base64url');
}

function readCursor(cursor: string): string {
  return Buffer.from(cursor, 'base64url').toString();
}

function subscriptionResource({ id, device_ids, ...attributes }: Subscription): object {
  return {
    id,
    type: 'subscriptions',
    attributes,
    relationships: { devices: { data: device_ids.map((deviceId) => ({ type: 'devices', id: deviceId })) } },
  };
}
