import { createHmac } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { startRecordedRing } from '../../src/simulator/simulator.js';
import { recordedAnswer } from '../support/worlds/recorded.js';
import type { SentEvent } from '../support/worlds/ring.js';
import type { Rig } from './rig.js';
import {
  callIntegrations,
  callRing,
  CLIENT_ID,
  CLIENT_SECRET,
  control,
  errorTitle,
  getMe,
  HMAC_KEY,
  mediaError,
  newCode,
  newNonce,
  newTokens,
  sendEvent,
  startRig,
} from './rig.js';

/**
 * Every example of Ring's documentation and every recorded answer, replayed: what is sent is written as it stands there,
 * and what is expected is typed from there.
 */

const WIRE_DEVICES = recordedAnswer('devices');
const WIRE_HISTORY = recordedAnswer('history-on-demand');

const DEVICE = '/v1/devices/ava1.ring.device.AAAA1111';
const ALL = 'status,capabilities,location,configurations';
const JSON_TYPE = { 'Content-Type': 'application/json' };

let rig: Rig;
beforeEach(async () => {
  rig = await startRig();
});
afterEach(() => rig.close());

/** The keys of an object and of the objects in it. Lists count as values. */
function keysOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return true;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, keysOf(inner)]));
}

describe('tokens', () => {
  test('an authorization code is exchanged', async () => {
    const response = await fetch(`${rig.url}/oauth/token`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: `grant_type=authorization_code&code=${await newCode(rig)}&client_id=${CLIENT_ID}&client_secret=${CLIENT_SECRET}`,
    });
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      access_token: expect.any(String),
      refresh_token: expect.any(String),
      scope: expect.any(String),
      expires_in: 14400,
      token_type: 'Bearer',
    });
  });

  test('a pair is refreshed once: the old refresh token is invalid_grant', async () => {
    const { refresh_token } = await newTokens(rig);
    const body = `grant_type=refresh_token&refresh_token=${refresh_token}&client_id=${CLIENT_ID}&client_secret=${CLIENT_SECRET}`;
    const send = (): Promise<Response> =>
      fetch(`${rig.url}/oauth/token`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
        body,
      });
    expect(((await (await send()).json()) as { refresh_token: string }).refresh_token).not.toBe(refresh_token);
    const second = await send();
    expect([second.status, await second.json()]).toMatchObject([400, { error: 'invalid_grant' }]);
  });

  test('a refresh token as Bearer is 401 Invalid Client', async () => {
    const { refresh_token } = await newTokens(rig);
    const response = await callRing(rig, 'GET', '/v1/devices', refresh_token);
    expect([response.status, await errorTitle(response)]).toEqual([401, 'Invalid Client']);
  });
});

test('the code reaches the app as a form', async () => {
  await control(rig, 'POST', '/installs', { user_id: 'ada' });
  expect(rig.app.received).toEqual([
    {
      method: 'POST',
      url: '/ring/token',
      contentType: expect.stringMatching(/^application\/x-www-form-urlencoded\b/),
      body: expect.stringMatching(/^code=[\w-]+$/),
    },
  ]);
});

test('the account link redirect has a nonce of 43 characters and a time', async () => {
  await newCode(rig);
  const { url } = await control<{ url: string }>(rig, 'GET', '/link-url?user_id=ada');
  expect(url).toMatch(/\?nonce=[\w-]{43}&time=1790000000000$/);
  const nonce = createHmac('sha256', HMAC_KEY)
    .update('1790000000000:ava1.ring.account.SIMULATED-ADA')
    .digest('base64url');
  expect(url).toContain(`nonce=${nonce}&`);
});

test('GET /v1/users/me', async () => {
  const { access_token } = await newTokens(rig);
  expect(keysOf(await (await getMe(rig, access_token)).json())).toEqual({
    data: { type: true, id: true, attributes: { first_name: true, last_name: true, email: true, phone_number: true } },
  });
});

test('app-integrations: POST with the nonce, PATCH with the status alone, PATCH with the identifier alone', async () => {
  const { access_token } = await newTokens(rig);
  const confirmed = await callIntegrations(rig, 'POST', access_token, { nonce: await newNonce(rig) });
  expect([confirmed.status, await confirmed.text()]).toEqual([200, '{"status":"awaiting"}']);
  const completed = await callRing(rig, 'PATCH', '/v1/accounts/me/app-integrations', access_token, {
    headers: JSON_TYPE,
    body: '{"status":"completed"}',
  });
  expect(completed.status).toBe(200);
  expect(keysOf(await completed.json())).toEqual({ account_identifier: true, status: true, updated_at: true });
  const identifier = { account_identifier: 'u***r@partner.example.com' };
  const renamed = await callIntegrations(rig, 'PATCH', access_token, identifier);
  expect(await renamed.json()).toMatchObject({ ...identifier, status: 'completed' });
});

describe('webhooks', () => {
  test('the envelope', async () => {
    const { event, body, signature } = await sendEvent(rig, 'button_press');
    expect(keysOf(event)).toEqual({
      meta: { version: true, time: true, request_id: true, account_id: true },
      data: {
        id: true,
        type: true,
        attributes: { source: true, source_type: true, timestamp: true },
        relationships: { devices: { links: { self: true } } },
      },
    });
    expect(event.meta.version).toBe('1.1');
    expect(event.meta.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
    expect(signature).toBe(`sha256=${createHmac('sha256', HMAC_KEY).update(body).digest('hex')}`);
  });

  test.each([
    'motion_detected',
    'button_press',
    'device_added',
    'device_removed',
    'device_online',
    'device_offline',
    'contact_sensor_faulted',
    'contact_sensor_cleared',
    'flood_detected',
    'flood_cleared',
    'freeze_detected',
    'freeze_cleared',
    'tamper_detected',
    'tamper_cleared',
  ])('%s is about a device', async (type) => {
    const { event } = await sendEvent(rig, type);
    expect(event.data.attributes).toEqual({
      source: 'ada-front-door',
      source_type: 'devices',
      timestamp: 1_790_000_000_000,
    });
    expect(event.data.relationships).toEqual({ devices: { links: { self: '/v1/devices/ada-front-door' } } });
  });

  test.each(['app_integration_added', 'app_integration_removed'])('%s is about the account', async (type) => {
    const { event } = await sendEvent(rig, type);
    const source = 'ava1.ring.account.SIMULATED-ADA';
    expect(event.data.attributes).toMatchObject({ source, source_type: 'users' });
    expect(event.data).not.toHaveProperty('relationships');
  });

  test('a subscription is activated and deactivated', async () => {
    const data = ({ event }: SentEvent): unknown => keysOf(event.data);
    const attributes = { source: true, source_id: true, sub_type: true, plan_id: true };
    const relationships = { devices: { data: true }, subscriptions: { links: { self: true } } };
    expect(data(await sendEvent(rig, 'subscription_activated'))).toEqual({
      id: true,
      type: true,
      attributes: { ...attributes, expires_at: true },
      relationships,
    });
    const deactivated = await sendEvent(rig, 'subscription_deactivated');
    expect(data(deactivated)).toEqual({ id: true, type: true, attributes, relationships });
  });
});

describe('media', () => {
  let token: string;
  beforeEach(async () => {
    token = (await newTokens(rig)).access_token;
    await sendEvent(rig, 'motion_detected');
    rig.clock.now += 60_000;
  });

  const ask = (what: string, body: string): Promise<Response> =>
    callRing(rig, 'POST', `/v1/devices/ada-front-door/media/${what}/download`, token, { headers: JSON_TYPE, body });

  test.each([
    '{"type":"at_timestamp","timestamp":1790000003000}',
    '{"type":"latest_in_range","start_timestamp":1790000000000,"end_timestamp":1790000003000}',
    '{"type":"at_timestamp","timestamp":1790000003000,"image_options":{"format":"png","resolution":{"width":1920,"height":1080}}}',
  ])('a picture for %s', async (body) => {
    const redirect = await ask('image', body);
    expect(redirect.status).toBe(303);
    const picture = await fetch(redirect.headers.get('location') ?? '');
    expect(picture.status).toBe(200);
    expect(picture.headers.get('content-type')).toMatch(/^image\/(jpeg|png)$/);
    expect(picture.headers.get('x-media-timestamp')).toBe('1790000003000');
    expect(picture.headers.get('x-media-origin')).toBe('recording');
  });

  test('the newest picture up to now', async () => {
    const redirect = await ask('image', '{"type":"latest_in_range","start_timestamp":1790000000000}');
    const picture = await fetch(redirect.headers.get('location') ?? '');
    expect(picture.headers.get('x-media-timestamp')).toBe('1790000008000');
  });

  test('a clip', async () => {
    const options =
      '"video_options":{"codec":"avc","frame_rate":25,"resolution":{"width":1920,"height":1080}},"audio_options":{"audio_enabled":true}';
    const redirect = await ask('video', `{"timestamp":1790000000000,"duration":5000,${options}}`);
    expect(redirect.status).toBe(303);
    const clip = await fetch(redirect.headers.get('location') ?? '');
    expect(clip.status).toBe(200);
    expect(clip.headers.get('content-type')).toBe('video/mp4');
    expect(clip.headers.get('x-media-timestamp')).toBe('1790000000000');
  });

  test('an error', async () => {
    const response = await ask('image', '{"type":"at_timestamp"}');
    const { errors } = (await response.json()) as { errors: object[] };
    expect(errors.map(keysOf)).toEqual([
      { id: true, status: true, code: true, detail: true, source: { pointer: true }, meta: { timestamp: true } },
    ]);
  });

  test('the history of it', async () => {
    await sendEvent(rig, 'button_press');
    const path = '/v1/history/devices/ada-front-door/events';
    const read = async (query: string): Promise<object[]> =>
      ((await (await callRing(rig, 'GET', path + query, token)).json()) as { data: object[] }).data;
    const entry = (event_type: string): object => ({ type: 'history-events', attributes: { event_type } });
    expect(await read('')).toMatchObject([entry('ding'), entry('motion')]);
    // The motion was of no class.
    const filtered = await read('?event_types=motion.human,ding');
    expect(filtered).toMatchObject([entry('ding')]);
    const { data: wired } = JSON.parse(WIRE_HISTORY) as { data: object[] };
    expect(keysOf(filtered[0])).toEqual(keysOf(wired[0]));
  });
});

test('an error of anything else has a status, a title and a detail', async () => {
  const { errors } = (await (await callRing(rig, 'GET', '/v1/devices', 'bad')).json()) as { errors: object[] };
  expect(errors.map(keysOf)).toEqual([{ status: true, title: true, detail: true }]);
});

test('a subscription', async () => {
  const { access_token } = await newTokens(rig);
  await sendEvent(rig, 'subscription_activated');
  const response = await callRing(rig, 'GET', '/v1/accounts/me/subscriptions', access_token);
  const { data } = (await response.json()) as { data: object[] };
  expect(data.map(keysOf)).toEqual([
    {
      id: true,
      type: true,
      attributes: { sub_type: true, status: true, plan_id: true, expires_at: true, created_at: true },
      relationships: { devices: { data: true } },
    },
  ]);
});

test('a live view begins with 201, an SDP answer and an absolute location, and is deleted there', async () => {
  const { access_token } = await newTokens(rig);
  const body = [
    'v=0',
    'o=- 1 2 IN IP4 127.0.0.1',
    's=-',
    't=0 0',
    'm=video 50000 UDP/TLS/RTP/SAVPF 102',
    'a=recvonly',
    'a=rtpmap:102 H264/90000',
    'a=candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host',
    'a=end-of-candidates',
    '',
  ].join('\r\n');
  const path = '/v1/devices/ada-front-door/media/streaming/whep/sessions';
  const headers = { 'Content-Type': 'application/sdp' };
  const response = await callRing(rig, 'POST', path, access_token, { headers, body });
  expect(response.status).toBe(201);
  expect(response.headers.get('content-type')).toBe('application/sdp');
  const location = new URL(response.headers.get('location') ?? '');
  expect((await callRing(rig, 'DELETE', location.pathname, access_token)).status).toBe(200);
});

test('the device that was recorded is told in the same way when it is simulated', async () => {
  interface Resource {
    type: string;
    id: string;
    attributes: Record<string, unknown>;
  }
  interface Document {
    data: [Resource];
    included: Resource[];
    meta: object;
  }
  const wire = JSON.parse(WIRE_DEVICES) as Document;
  const wired = (type: string) => wire.included.find((one) => one.type === type)?.attributes;
  const { id } = await control<{ id: string }>(rig, 'POST', '/users', {
    devices: [
      {
        id: wire.data[0].id,
        name: wire.data[0].attributes.name,
        image_url: wire.data[0].attributes.image_url,
        capabilities: wired('device-capabilities'),
        configurations: wired('device-configurations'),
        location: wired('locations'),
      },
    ],
  });
  const { access_token } = await newTokens(rig, id);
  const response = await callRing(rig, 'GET', `/v1/devices?include=${ALL}`, access_token);
  const simulated = (await response.json()) as Document;
  expect(simulated.data[0].attributes).toEqual(wire.data[0].attributes);
  expect(keysOf(simulated.data[0])).toEqual(keysOf(wire.data[0]));
  expect(Object.keys(simulated).sort()).toEqual(Object.keys(wire).sort());
  for (const { type, attributes } of simulated.included) {
    if (type === 'device-status') expect(keysOf(attributes)).toEqual(keysOf(wired(type)));
    else expect(attributes).toEqual(wired(type));
  }
});

describe('the recorded answers', () => {
  const TOKEN = 'playground-token';
  beforeEach(() => control(rig, 'PUT', '/settings', { recordedToken: TOKEN }));

  const get = (path: string, token = TOKEN): Promise<Response> => callRing(rig, 'GET', path, token);
  const post = (path: string, body?: object): Promise<Response> =>
    callRing(rig, 'POST', path, TOKEN, { headers: JSON_TYPE, ...(body && { body: JSON.stringify(body) }) });

  test('are given byte for byte', async () => {
    const devices = await get(`/v1/devices?include=${ALL}`);
    expect([devices.status, await devices.text()]).toEqual([200, WIRE_DEVICES]);
    const history = await get('/v1/history/devices/ava1.ring.device.AAAA1111/events?event_types=on_demand');
    expect([history.status, await history.text()]).toEqual([200, WIRE_HISTORY]);
  });

  test('tell of one device and of its resources what they tell of all', async () => {
    interface Document {
      data: { relationships: Record<string, { data: object; links: object }> }[];
      included: { type: string }[];
      meta: object;
    }
    const { data, included, meta } = JSON.parse(WIRE_DEVICES) as Document;
    expect(await (await get(`${DEVICE}?include=${ALL}`)).json()).toEqual({
      data: data[0],
      included: expect.arrayContaining(included),
      meta,
    });
    for (const [relation, type] of [
      ['status', 'device-status'],
      ['capabilities', 'device-capabilities'],
      ['location', 'locations'],
      ['configurations', 'device-configurations'],
    ] as const) {
      const resource = included.find((one) => one.type === type);
      expect(await (await get(`${DEVICE}/${relation}`)).json()).toEqual({ data: resource, meta });
      const list = (await (await get(`/v1/devices?include=${relation}`)).json()) as Document;
      expect(list.included).toEqual([resource]);
    }
    const { status } = ((await (await get('/v1/devices')).json()) as Document).data[0]?.relationships ?? {};
    expect(status).toEqual({ links: { related: `${DEVICE}/status` } });
  });

  test('are nothing but live views in history', async () => {
    const path = '/v1/history/devices/ava1.ring.device.AAAA1111/events';
    expect(await (await get(path)).text()).toBe(WIRE_HISTORY);
    expect(await (await get(`${path}?event_types=motion,ding`)).json()).toEqual({ data: [] });
  });

  test('are those that were observed, for everything else', async () => {
    const image = `${DEVICE}/media/image/download`;
    expect((await get('/v1/accounts/me/subscriptions')).status).toBe(422);
    expect(await mediaError(await post(image))).toEqual([403, 'REQUEST_FORBIDDEN', undefined]);
    const now = rig.clock.now;
    for (const body of [
      { type: 'at_timestamp', timestamp: now },
      { type: 'latest_in_range', start_timestamp: now - 1_000, end_timestamp: now },
    ]) {
      expect(await mediaError(await post(image, body))).toEqual([403, 'TIME_RANGE_NOT_AUTHORIZED', undefined]);
    }
    expect(await mediaError(await post(image, { type: 'at_timestamp' }))).toEqual([
      400,
      'INVALID_PAYLOAD',
      '/timestamp',
    ]);
    const clip = await post(`${DEVICE}/media/video/download`, { timestamp: now, duration: 1_000 });
    expect(await mediaError(clip)).toEqual([403, 'TIME_RANGE_NOT_AUTHORIZED', undefined]);
    expect((await getMe(rig, TOKEN)).status).toBe(200);
    expect((await post(`${DEVICE}/media/streaming/whep/sessions`, {})).status).toBe(403);
    expect((await get('/v1/devices/another')).status).toBe(404);
  });

  test('are for one token alone, and can be told to fail', async () => {
    expect((await get('/v1/devices', 'another')).status).toBe(401);
    expect((await getMe(rig, 'another')).status).toBe(403);
    await control(rig, 'PUT', '/faults', [{ endpoint: 'devices', fault: { kind: 'status', status: 500 }, times: 1 }]);
    expect((await get('/v1/devices')).status).toBe(500);
    await control(rig, 'PUT', '/settings', { recordedToken: null });
    expect((await get('/v1/devices')).status).toBe(401);
  });

  test('can be had without an app', async () => {
    const ring = await startRecordedRing({ port: 0, token: TOKEN });
    try {
      const headers = { Authorization: `Bearer ${TOKEN}` };
      const response = await fetch(`${ring.url}/v1/devices?include=${ALL}`, { headers });
      expect(await response.text()).toBe(WIRE_DEVICES);
    } finally {
      await ring.close();
    }
  });
});
