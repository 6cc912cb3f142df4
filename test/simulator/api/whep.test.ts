import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Rig } from '../rig.js';
import { callRing, control, errorTitle, newTokens, sendEvent, startRig } from '../rig.js';

const AUDIO = ['m=audio 9 UDP/TLS/RTP/SAVPF 111', 'a=mid:1', 'a=recvonly', 'a=rtpmap:111 opus/48000/2'];
const VIDEO = [
  'm=video 9 UDP/TLS/RTP/SAVPF 96 102',
  'a=mid:0',
  'a=recvonly',
  'a=rtpmap:96 VP8/90000',
  'a=rtpmap:102 H264/90000',
  'a=fmtp:102 packetization-mode=1',
  'a=candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host',
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

/** @param location absolute, or a path */
const end = async (location: string): Promise<number> =>
  (await callRing(rig, 'DELETE', location.replace(rig.url, ''), token)).status;

async function states(): Promise<string[]> {
  const views = await control<{ state: string }[]>(rig, 'GET', '/live-views');
  return views.map(({ state }) => state);
}

describe('a live view', () => {
  test('begins with an answer to each track of the offer, and an absolute location', async () => {
    const response = await start();
    expect(response.status).toBe(201);
    expect(response.headers.get('content-type')).toBe('application/sdp');
    const location = response.headers.get('location') ?? '';
    expect(new URL(location).origin).toBe(rig.url);
    expect(new URL(location).pathname).toMatch(
      /^\/v1\/devices\/ada-driveway\/media\/streaming\/whep\/sessions\/[0-9a-f-]{36}$/,
    );

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

  test.each([
    ['relative', /^\/v1\/devices\/ada-driveway\/media\/streaming\/whep\/sessions\/[0-9a-f-]{36}$/],
    ['trailing-slash', /^http:\/\/localhost:\d+\/v1\/devices\/ada-driveway\/.*\/sessions\/[0-9a-f-]{36}\/$/],
  ])('can have a location that is %s', async (whepLocation, pattern) => {
    await control(rig, 'PUT', '/settings', { whepLocation });
    const location = await newLocation();
    expect(location).toMatch(pattern);
    expect(await end(location)).toBe(200);
    expect(await states()).toEqual(['closed']);
  });

  test.each([
    ['missing', null],
    ['unreadable', 'http://['],
    ['other-origin', expect.stringMatching(/^http:\/\/elsewhere\.invalid\/v1\/devices\/ada-driveway\//)],
  ])('can have a location that is %s, and runs all the same', async (whepLocation, location) => {
    await control(rig, 'PUT', '/settings', { whepLocation });
    const response = await start();
    expect(response.status).toBe(201);
    expect(response.headers.get('location')).toEqual(location);
    expect(await states()).toEqual(['open']);
  });

  test('needs no audio, and may name one of several cameras', async () => {
    const response = await start(offer(SESSION, VIDEO));
    expect((await response.text()).match(/^m=.*$/gm)).toHaveLength(1);
    const path = '/v1/devices/ada-driveway/media/streaming/whep/sessions?component_id=left';
    const headers = { 'Content-Type': 'application/sdp' };
    expect((await callRing(rig, 'POST', path, token, { headers, body: GOOD_OFFER })).status).toBe(201);
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
    'one from before ICE gathering',
    offer(
      SESSION,
      VIDEO.filter((line) => !line.startsWith('a=candidate:')),
    ),
    'application/sdp',
  ],
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

test('a device that is offline is 503; one that was removed, or has no video, is 404; a bad token is 401', async () => {
  const refusal = async (response: Response): Promise<unknown[]> => [response.status, await errorTitle(response)];
  await sendEvent(rig, 'device_offline', { device_id: 'ada-driveway' });
  expect(await refusal(await start())).toEqual([503, 'Device Unavailable']);
  await sendEvent(rig, 'device_removed', { device_id: 'ada-driveway' });
  expect(await refusal(await start())).toEqual([404, 'Not Found']);
  token = (await newTokens(rig, 'kim')).access_token;
  expect(await refusal(await start(undefined, undefined, 'kim-cellar'))).toEqual([404, 'Not Found']);
  token = 'bad';
  expect(await refusal(await start())).toEqual([401, 'Invalid Client']);
});

test('a live view that is over is a recording, downloadable 2 s later', async () => {
  const startedAt = rig.clock.now;
  const location = await newLocation();
  rig.clock.now += 5_000;
  expect(await control(rig, 'GET', '/recordings')).toEqual([]);
  await end(location);
  expect(await control(rig, 'GET', '/recordings')).toMatchObject([
    {
      device_id: 'ada-driveway',
      kind: 'on_demand',
      start: startedAt,
      end: startedAt + 5_000,
      ready_at: startedAt + 7_000,
    },
  ]);
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
