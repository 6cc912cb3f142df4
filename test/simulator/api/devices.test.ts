import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Rig } from '../rig.js';
import { callRing, control, errorTitle, getMe, newTokens, recordedRequests, sendEvent, startRig } from '../rig.js';

interface Resource {
  type: string;
  id: string;
  attributes: Record<string, unknown>;
  relationships: Record<string, { data: { type: string; id: string } | null; links: { related: string } }>;
}
interface Document {
  data: Resource[];
  included?: Resource[];
}

const ALL = 'status,capabilities,location,configurations';

let rig: Rig;
beforeEach(async () => {
  rig = await startRig();
});
afterEach(() => rig.close());

async function read<Body = Document>(path: string, token: string): Promise<Body> {
  const response = await callRing(rig, 'GET', path, token);
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('application/vnd.api+json');
  return (await response.json()) as Body;
}

describe('the list of devices', () => {
  test('links related resources that were not asked for, and embeds nothing', async () => {
    const { access_token } = await newTokens(rig);
    const document = await read('/v1/devices', access_token);
    expect(document).not.toHaveProperty('included');
    expect(document.data.map(({ id }) => id)).toEqual(['ada-front-door', 'ada-driveway', 'ada-back-garden']);
    expect(document.data[0]).toEqual({
      type: 'devices',
      id: 'ada-front-door',
      attributes: { name: 'Front Door' },
      relationships: {
        status: related('status', 'device-status'),
        capabilities: related('capabilities', 'device-capabilities'),
        configurations: related('configurations', 'device-configurations'),
        location: related('location', 'locations'),
      },
    });
  });

  test('embeds exactly the related resources that were asked for', async () => {
    const { access_token } = await newTokens(rig);
    const { included = [] } = await read('/v1/devices?include=status,location', access_token);
    expect(new Set(included.map(({ type }) => type))).toEqual(new Set(['device-status', 'locations']));
    expect(included).toHaveLength(6);
    expect(included).toContainEqual({
      type: 'device-status',
      id: 'ada-back-garden.status',
      attributes: { online: false },
    });
    expect((await callRing(rig, 'GET', '/v1/devices?include=zones', access_token)).status).toBe(400);
  });

  test('has only the devices that the user shares with the app', async () => {
    const { access_token } = await newTokens(rig);
    await sendEvent(rig, 'device_removed', { device_id: 'ada-driveway' });
    const { data } = await read('/v1/devices', access_token);
    expect(data.map(({ id }) => id)).toEqual(['ada-front-door', 'ada-back-garden']);
  });
});

describe('one device', () => {
  test('is as it was made, zones with whole numbers as whole numbers', async () => {
    const zone = { id: 'zone', vertices: [{ x: 0, y: 1 }] };
    const configurations = { motion_detection: { enabled: 'on', motion_zones: [zone] } };
    const device = { id: 'shed', name: 'Shed', online: false, power: 'battery', configurations };
    const { id } = await control<{ id: string }>(rig, 'POST', '/users', { devices: [device] });
    const { access_token } = await newTokens(rig, id);
    const response = await callRing(rig, 'GET', `/v1/devices/shed?include=${ALL}`, access_token);
    const body = await response.text();
    expect(body).toContain('"vertices":[{"x":0,"y":1}]');
    const { data, included } = JSON.parse(body) as { data: Resource; included: Resource[] };
    expect(data.attributes).toEqual({ name: 'Shed' });
    expect(included).toContainEqual({
      type: 'device-configurations',
      id: 'shed.configurations',
      attributes: configurations,
    });
    for (const { data: identifier } of Object.values(data.relationships)) {
      expect(included).toContainEqual(expect.objectContaining(identifier ?? {}));
    }
  });

  test('may be one that Ring knows little of', async () => {
    const { access_token } = await newTokens(rig, 'nameless');
    const path = `/v1/devices/nameless-hall?include=${ALL}`;
    const { data, included } = await read<{ data: Resource; included: Resource[] }>(path, access_token);
    expect(included).toEqual([{ type: 'device-status', id: 'nameless-hall.status', attributes: { online: true } }]);
    expect(data.relationships.location?.data).toBeNull();
  });

  test('is 404 when it is unknown, another user’s or removed', async () => {
    const { access_token } = await newTokens(rig);
    await sendEvent(rig, 'device_removed', { device_id: 'ada-driveway' });
    for (const id of ['nothing', 'sam-garage', 'ada-driveway']) {
      const response = await callRing(rig, 'GET', `/v1/devices/${id}`, access_token);
      expect(response.status).toBe(404);
      expect(await errorTitle(response)).toBe('Not Found');
    }
  });

  test('is 401 for a bad token, and 404 for one without an app', async () => {
    const { access_token } = await newTokens(rig);
    expect((await callRing(rig, 'GET', '/v1/devices/ada-driveway', 'bad')).status).toBe(401);
    await control(rig, 'DELETE', '/integrations?user_id=ada&tokens=good');
    expect((await callRing(rig, 'GET', '/v1/devices/ada-driveway', access_token)).status).toBe(404);
    expect((await getMe(rig, access_token)).status).toBe(200);
  });

  test('is in the record of requests', async () => {
    const { access_token } = await newTokens(rig);
    await callRing(rig, 'GET', `/v1/devices/ada-driveway?include=${ALL}`, access_token);
    expect((await recordedRequests(rig)).at(-1)).toMatchObject({
      method: 'GET',
      path: '/v1/devices/ada-driveway',
      account_id: 'ava1.ring.account.SIMULATED-ADA',
      device_id: 'ada-driveway',
      status: 200,
    });
  });
});

test('both can be told to misbehave', async () => {
  const { access_token } = await newTokens(rig);
  await control(rig, 'PUT', '/faults', [
    { endpoint: 'devices', fault: { kind: 'status', status: 500 } },
    { endpoint: 'device', fault: { kind: 'status', status: 429, retryAfterSeconds: 3 } },
  ]);
  expect((await callRing(rig, 'GET', '/v1/devices', access_token)).status).toBe(500);
  expect((await callRing(rig, 'GET', '/v1/devices/ada-driveway', access_token)).status).toBe(429);
});

function related(relation: string, type: string): object {
  return {
    data: { type, id: `ada-front-door.${relation}` },
    links: { related: `/v1/devices/ada-front-door/${relation}` },
  };
}
