import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Rig } from '../rig.js';
import { callRing, control, errorTitle, getMe, newTokens, recordedRequests, sendEvent, startRig } from '../rig.js';

interface Resource {
  type: string;
  id: string;
  attributes: Record<string, unknown>;
  relationships: Record<string, { data?: { type: string; id: string } | null; links: { related: string } }>;
}
interface Document {
  data: Resource[];
  included?: Resource[];
  links?: { next: string };
  meta: { time: string };
}
interface One {
  data: Resource;
  included?: Resource[];
}

const ALL = 'status,capabilities,location,configurations';
const IMAGE_URL = 'https://app-content.ring.com/shared/images/devices/square_device_images/DoorbellPro/rvdp_3x.png';

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

/** A new user with these devices, and a token for them. */
async function having(...devices: object[]): Promise<{ user_id: string; token: string }> {
  const { id } = await control<{ id: string }>(rig, 'POST', '/users', { devices });
  return { user_id: id, token: (await newTokens(rig, id)).access_token };
}

describe('the list of devices', () => {
  test('has only links to related resources that were not asked for, and embeds nothing', async () => {
    const { access_token } = await newTokens(rig);
    const document = await read('/v1/devices', access_token);
    expect(document).not.toHaveProperty('included');
    expect(document).not.toHaveProperty('links');
    expect(document.meta).toEqual({ time: '2026-09-21T14:13:20Z' });
    expect(document.data.map(({ id }) => id)).toEqual(['ada-front-door', 'ada-driveway', 'ada-back-garden']);
    expect(document.data[0]).toEqual({
      type: 'devices',
      id: 'ada-front-door',
      attributes: { name: 'Front Door', image_url: IMAGE_URL },
      relationships: {
        status: { links: { related: '/v1/devices/ada-front-door/status' } },
        capabilities: { links: { related: '/v1/devices/ada-front-door/capabilities' } },
        location: { links: { related: '/v1/devices/ada-front-door/location' } },
        configurations: { links: { related: '/v1/devices/ada-front-door/configurations' } },
      },
    });
  });

  test('embeds exactly the related resources that were asked for', async () => {
    const { access_token } = await newTokens(rig);
    const { data, included = [] } = await read('/v1/devices?include=status,location', access_token);
    expect(new Set(included.map(({ type }) => type))).toEqual(new Set(['device-status', 'locations']));
    expect(included).toHaveLength(6);
    expect(data[0]?.relationships).toMatchObject({
      status: { data: { type: 'device-status' }, links: { related: '/v1/devices/ada-front-door/status' } },
      location: { data: { type: 'locations' } },
    });
    expect(data[0]?.relationships.capabilities).toEqual({
      links: { related: '/v1/devices/ada-front-door/capabilities' },
    });
    expect((await callRing(rig, 'GET', '/v1/devices?include=zones', access_token)).status).toBe(400);
  });

  test('has only the devices that the user shares with the app, and none encrypted from end to end', async () => {
    const { access_token } = await newTokens(rig);
    await sendEvent(rig, 'device_removed', { device_id: 'ada-driveway' });
    await control(rig, 'PATCH', '/devices', { user_id: 'ada', encryption: 'end-to-end' });
    const { data } = await read('/v1/devices', access_token);
    expect(data.map(({ id }) => id)).toEqual(['ada-back-garden']);
  });

  test('is in pages, the next one linked relatively and with the same resources', async () => {
    await control(rig, 'PUT', '/settings', { devicesPageSize: 2 });
    const { access_token } = await newTokens(rig);
    const first = await read(`/v1/devices?include=${ALL}`, access_token);
    expect(first.data.map(({ id }) => id)).toEqual(['ada-front-door', 'ada-driveway']);
    expect(first.links?.next).toMatch(
      /^\/v1\/devices\?include=status,capabilities,location,configurations&page\[key\]=/,
    );
    const second = await read(first.links?.next ?? '', access_token);
    expect(second.data.map(({ id }) => id)).toEqual(['ada-back-garden']);
    expect(second.included).toHaveLength(4);
    expect(second).not.toHaveProperty('links');
  });
});

describe('one device', () => {
  test('is as it was made, zones with whole numbers as whole numbers', async () => {
    const zone = { id: 'zone', vertices: [{ x: 0, y: 1 }] };
    const configurations = { motion_detection: { enabled: 'on', motion_zones: [zone] } };
    const { token } = await having({ id: 'shed', name: 'Shed', online: false, power: 'battery', configurations });
    const response = await callRing(rig, 'GET', `/v1/devices/shed?include=${ALL}`, token);
    const body = await response.text();
    expect(body).toContain('"vertices":[{"x":0,"y":1}]');
    const { data, included } = JSON.parse(body) as { data: Resource; included: Resource[] };
    expect(data.attributes).toEqual({ name: 'Shed', image_url: IMAGE_URL });
    expect(included).toContainEqual(
      expect.objectContaining({ type: 'device-configurations', attributes: configurations }),
    );
    for (const { data: identifier } of Object.values(data.relationships)) {
      expect(included).toContainEqual(expect.objectContaining(identifier ?? { type: 'none' }));
    }
  });

  test('may be one that Ring knows little of', async () => {
    const { access_token } = await newTokens(rig, 'nameless');
    const { data, included } = await read<One>(`/v1/devices/nameless-hall?include=${ALL}`, access_token);
    expect(included?.map(({ type }) => type)).toEqual(['device-status']);
    expect(data.relationships.location?.data).toBeNull();
  });

  test('is 404 when it is unknown, another user’s or removed', async () => {
    const { access_token } = await newTokens(rig);
    await sendEvent(rig, 'device_removed', { device_id: 'ada-driveway' });
    for (const id of ['nothing', 'sam-garage', 'ada-driveway']) {
      const response = await callRing(rig, 'GET', `/v1/devices/${id}`, access_token);
      expect([response.status, await errorTitle(response)]).toEqual([404, 'Not Found']);
    }
  });

  test('is 401 for a bad token, also a refresh token, and 404 for a token without an integration', async () => {
    const { access_token, refresh_token } = await newTokens(rig);
    for (const bad of ['bad', refresh_token]) {
      const response = await callRing(rig, 'GET', '/v1/devices/ada-driveway', bad);
      expect([response.status, await errorTitle(response)]).toEqual([401, 'Invalid Client']);
    }
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

describe('a resource of a device', () => {
  const attributes = async (path: string, token: string): Promise<object> =>
    (await read<One>(`/v1/devices/${path}`, token)).data.attributes;

  test.each([
    ['status', 'device-status'],
    ['capabilities', 'device-capabilities'],
    ['location', 'locations'],
    ['configurations', 'device-configurations'],
  ])('%s can be read by itself, and is the one that include embeds', async (relation, type) => {
    const { access_token } = await newTokens(rig);
    const { data } = await read<One>(`/v1/devices/ada-driveway/${relation}`, access_token);
    expect(data.type).toBe(type);
    const { included } = await read<One>(`/v1/devices/ada-driveway?include=${relation}`, access_token);
    expect(included).toEqual([data]);
  });

  test('is 404 for a device that is not there, and can be told to fail', async () => {
    const { access_token } = await newTokens(rig);
    expect((await callRing(rig, 'GET', '/v1/devices/nothing/status', access_token)).status).toBe(404);
    await control(rig, 'PUT', '/faults', [{ endpoint: 'device-resource', fault: { kind: 'status', status: 500 } }]);
    expect((await callRing(rig, 'GET', '/v1/devices/ada-driveway/status', access_token)).status).toBe(500);
  });

  test('status tells since when it is known', async () => {
    const { access_token } = await newTokens(rig);
    const status = { audio: { snooze: { active: null, until: null } }, state: null };
    expect(await attributes('ada-driveway/status', access_token)).toEqual({
      ...status,
      online: true,
      reported_at: '2026-09-21T14:13:20Z',
    });
    rig.clock.now += 60_999;
    await sendEvent(rig, 'device_offline', { device_id: 'ada-driveway' });
    rig.clock.now += 60_000;
    expect(await attributes('ada-driveway/status', access_token)).toEqual({
      ...status,
      online: false,
      reported_at: '2026-09-21T14:14:20Z',
    });
  });

  test('capabilities have resolutions as numbers, and null for what the device lacks', async () => {
    const { access_token } = await newTokens(rig);
    expect(await attributes('ada-driveway/capabilities', access_token)).toEqual({
      video: {
        configurations: ['resolution_mode'],
        codecs: ['AVC', 'HEVC'],
        ratio: '16:9',
        max_resolution: 2160,
        supported_resolutions: [1080, 2160],
      },
      audio: { customizable_slots: null, supported_actions: null },
      motion_detection: { configurations: ['enabled', 'motion_zones'] },
      image_enhancements: {
        configurations: ['color_night_vision', 'hdr', 'ir_led_night_vision', 'privacy_zones', 'snapshot'],
      },
      battery_status: null,
      contact_detection: null,
      flood_detection: null,
      freeze_detection: null,
      tamper_detection: null,
      smoke_detection: null,
      glass_break_detection: null,
      co_detection_listener: null,
    });
  });

  test('capabilities of a sensor have no video', async () => {
    const { access_token } = await newTokens(rig, 'kim');
    const capabilities = await attributes('kim-cellar/capabilities', access_token);
    expect(capabilities).toMatchObject({ video: null, motion_detection: null, contact_detection: null });
    expect(capabilities).toMatchObject({ flood_detection: expect.any(Object), freeze_detection: expect.any(Object) });
  });

  test('location has a country and perhaps a state', async () => {
    const { access_token } = await newTokens(rig);
    expect(await attributes('ada-driveway/location', access_token)).toEqual({ country: 'US', state: 'WA' });
  });

  test('that Ring knows nothing of is null', async () => {
    const { access_token } = await newTokens(rig, 'nameless');
    const { data } = await read<{ data: null }>('/v1/devices/nameless-hall/location', access_token);
    expect(data).toBeNull();
  });
});

describe('a sensor', () => {
  test.each([
    ['kim-back-door', 'contact_detection', 'contact_sensor_faulted', 'contact_sensor_cleared'],
    ['kim-cellar', 'flood_detection', 'flood_detected', 'flood_cleared'],
    ['kim-cellar', 'freeze_detection', 'freeze_detected', 'freeze_cleared'],
    ['kim-cellar', 'tamper_detection', 'tamper_detected', 'tamper_cleared'],
  ])('%s tells of %s, without regard to the others', async (device_id, member, faulted, cleared) => {
    const { access_token } = await newTokens(rig, 'kim');
    const status = async (): Promise<Record<string, { faulted: boolean }>> =>
      (
        await read<{ data: { attributes: Record<string, { faulted: boolean }> } }>(
          `/v1/devices/${device_id}/status`,
          access_token,
        )
      ).data.attributes;
    const before = await status();
    expect(before[member]).toEqual({ faulted: false });

    rig.clock.now += 60_000;
    const { event } = await sendEvent(rig, faulted, { user_id: 'kim', device_id });
    expect(event.data).toEqual({
      id: expect.any(String),
      type: faulted,
      attributes: { source: device_id, source_type: 'devices', timestamp: rig.clock.now },
      relationships: { devices: { links: { self: `/v1/devices/${device_id}` } } },
    });
    expect(await status()).toEqual({ ...before, [member]: { faulted: true }, reported_at: '2026-09-21T14:14:20Z' });

    await sendEvent(rig, cleared, { user_id: 'kim', device_id });
    expect(await status()).toEqual({ ...before, reported_at: '2026-09-21T14:14:20Z' });
  });

  test('can be wet without a webhook', async () => {
    const { access_token } = await newTokens(rig, 'kim');
    await control(rig, 'PATCH', '/devices', {
      user_id: 'kim',
      device_id: 'kim-cellar',
      faulted: ['flood_detection', 'tamper_detection'],
    });
    const { data } = await read<One>('/v1/devices/kim-cellar/status', access_token);
    expect(data.attributes).toMatchObject({
      flood_detection: { faulted: true },
      freeze_detection: { faulted: false },
      tamper_detection: { faulted: true },
    });
    expect(data.attributes).not.toHaveProperty('contact_detection');
  });
});

test('list and device can be told to misbehave', async () => {
  const { access_token } = await newTokens(rig);
  await control(rig, 'PUT', '/faults', [
    { endpoint: 'devices', fault: { kind: 'status', status: 500 } },
    { endpoint: 'device', fault: { kind: 'status', status: 429, retryAfterSeconds: 3 } },
  ]);
  expect((await callRing(rig, 'GET', '/v1/devices', access_token)).status).toBe(500);
  expect((await callRing(rig, 'GET', '/v1/devices/ada-driveway', access_token)).status).toBe(429);
});

test('a device can be changed, field by field', async () => {
  const { user_id, token } = await having({ id: 'shed', name: 'Shed' });
  const change = (changes: object): Promise<object> => control(rig, 'PATCH', '/devices', { user_id, ...changes });
  expect(await change({ name: 'Barn', online: false })).toMatchObject({ id: 'shed', name: 'Barn', online: false });
  const { data } = await read<One>('/v1/devices/shed', token);
  expect(data.attributes.name).toBe('Barn');
  await expect(change({ device_id: 'other', name: 'x' })).rejects.toThrow('404');
  await expect(change({ id: 'barn' })).rejects.toThrow('400');
});
