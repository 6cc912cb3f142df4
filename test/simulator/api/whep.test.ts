import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Rig } from '../rig.js';
import { callRing, control, newTokens, sendEvent, startRig } from '../rig.js';

const AUDIO = ['m=audio 9 UDP/TLS/RTP/SAVPF 111', 'a=mid:1', 'a=recvonly', 'a=rtpmap:111 opus/48000/2'];
const VIDEO = [
  'm=video 9 UDP/TLS/RTP/SAVPF 96 102',
  'a=mid:0',
  'a=recvonly',
  'a=rtpmap:96 VP8/90000',
  'a=rtpmap:102 H264/90000',
  'a=fmtp:102 packetization-mode=1',
];
const SESSION = ['v=0', 'o=- 1 2 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=group:BUNDLE 0 1'];
const offer = (...lines: string[][]): string => `${lines.flat().join('\r\n')}\r\n`;
const GOOD_OFFER = offer(SESSION, VIDEO, AUDIO);

let rig: Rig;
let token: string;
beforeEach(async () => {
  rig = await startRig();
  token = (await newTokens(rig)).access_token;
});
afterEach(() => rig.close());

function start(body = GOOD_OFFER, contentType = 'application/sdp', device_id = 'ada-driveway'): Promise<Response> {
  const path = `/v1/devices/${device_id}/media/streaming/whep/sessions`;
  return callRing(rig, 'POST', path, token, { body, headers: { 'Content-Type': contentType } });
}

async function newLocation(device_id?: string): Promise<string> {
  const response = await start(undefined, undefined, device_id);
  expect(response.status).toBe(201);
  return response.headers.get('location') ?? '';
}

const end = async (location: string): Promise<number> => (await callRing(rig, 'DELETE', location, token)).status;

async function states(): Promise<string[]> {
  const views = await control<{ state: string }[]>(rig, 'GET', '/live-views');
  return views.map(({ state }) => state);
}

describe('a live view', () => {
  test('begins with an answer to each track of the offer, and a relative location', async () => {
    const response = await start();
    expect(response.status).toBe(201);
    expect(response.headers.get('content-type')).toBe('application/sdp');
    const location = response.headers.get('location') ?? '';
    expect(location).toMatch(/^\/v1\/devices\/ada-driveway\/media\/streaming\/whep\/sessions\/[0-9a-f-]{36}$/);

    const answer = (await response.text()).split('\r\n');
    expect(answer[0]).toBe('v=0');
    expect(answer.filter((line) => line.startsWith('m='))).toEqual([
      'm=video 9 UDP/TLS/RTP/SAVPF 102',
      'm=audio 9 UDP/TLS/RTP/SAVPF 111',
    ]);
    expect(answer.filter((line) => line === 'a=sendonly')).toHaveLength(2);
    expect(answer).toEqual(expect.arrayContaining(['a=mid:0', 'a=mid:1', 'a=fmtp:102 packetization-mode=1']));

    expect(await control(rig, 'GET', '/live-views')).toEqual([
      {
        session_id: location.split('/').at(-1),
        account_id: 'ava1.ring.account.SIMULATED-ADA',
        device_id: 'ada-driveway',
        started_at: rig.clock.now,
        state: 'open',
      },
    ]);
  });

  test('can have an absolute location', async () => {
    await control(rig, 'PUT', '/settings', { whepLocation: 'absolute' });
    const location = await newLocation();
    expect(location).toMatch(`${rig.url}/v1/devices/ada-driveway/`);
    expect(await end(location.replace(rig.url, ''))).toBe(200);
  });

  test('is closed once', async () => {
    const location = await newLocation();
    expect(await end(location)).toBe(200);
    expect(await end(location)).toBe(404);
    expect(await end(`${location}-other`)).toBe(404);
    expect(await states()).toEqual(['closed']);
  });

  test('is closed only on its own device', async () => {
    const location = await newLocation();
    expect(await end(location.replace('ada-driveway', 'ada-front-door'))).toBe(404);
    expect(await states()).toEqual(['open']);
  });

  test.each([
    ['ada-driveway', 60_000],
    ['ada-back-garden', 30_000],
  ])('of %s ends by itself after %i ms', async (device_id, limitMs) => {
    await sendEvent(rig, 'device_online', { device_id });
    const location = await newLocation(device_id);
    rig.clock.now += limitMs - 1;
    expect(await states()).toEqual(['open']);
    rig.clock.now += 1;
    expect(await states()).toEqual(['expired']);
    expect(await end(location)).toBe(404);
  });

  test.each(['device_offline', 'device_removed', 'app_integration_removed'])('ends with %s', async (type) => {
    await newLocation();
    await sendEvent(rig, type, { device_id: 'ada-driveway' });
    expect(await states()).toEqual(['closed']);
  });
});

test.each([
  ['another type', GOOD_OFFER, 'application/json'],
  ['no SDP', 'hello', 'application/sdp'],
  ['audio alone', offer(SESSION, AUDIO), 'application/sdp'],
  [
    'a track that sends',
    offer(
      SESSION,
      VIDEO,
      [...AUDIO, 'a=sendrecv'].filter((line) => line !== 'a=recvonly'),
    ),
    'application/sdp',
  ],
  [
    'a track without a direction',
    offer(
      SESSION,
      VIDEO.filter((line) => line !== 'a=recvonly'),
    ),
    'application/sdp',
  ],
])('an offer is refused when it is %s', async (_what, body, contentType) => {
  expect((await start(body, contentType)).status).toBe(400);
  expect(await states()).toEqual([]);
});

test('a device that is offline is 503; one that was removed is 404', async () => {
  await sendEvent(rig, 'device_offline', { device_id: 'ada-driveway' });
  expect((await start()).status).toBe(503);
  await sendEvent(rig, 'device_removed', { device_id: 'ada-driveway' });
  expect((await start()).status).toBe(404);
});

test('starting and ending can be told to misbehave; after the effect, the view is there', async () => {
  await control(rig, 'PUT', '/faults', [
    { endpoint: 'whep-post', fault: { kind: 'reset' }, when: 'after', times: 1 },
    { endpoint: 'whep-delete', fault: { kind: 'status', status: 500 } },
  ]);
  await expect(start()).rejects.toThrow('fetch failed');
  expect(await states()).toEqual(['open']);
  expect(await end(await newLocation())).toBe(500);
});
