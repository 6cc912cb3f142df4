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
        answerPage(user.subscriptions, request.query.get('page_token') ?? '0'),
      ),
    fail: simulatedFailure,
  };
}

function answerPage(subscriptions: Subscription[], pageToken: string): RingAnswer {
  if (!/^\d{1,9}$/.test(pageToken)) return refuse(400, 'Invalid Page Token', 'Follow links.next as it is.');
  const start = Number(pageToken);
  const end = start + PAGE_SIZE;
  const links = end < subscriptions.length ? { links: { next: `${PATH}?page_token=${end}` } } : {};
  return jsonApi(200, { data: subscriptions.slice(start, end).map(subscriptionResource), ...links });
}

function subscriptionResource({ id, device_ids, ...attributes }: Subscription): object {
  return {
    id,
    type: 'subscriptions',
    attributes,
    relationships: { devices: { data: device_ids.map((deviceId) => ({ type: 'devices', id: deviceId })) } },
  };
}
