import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { bytesOf, sizeOfJpeg, sizeOfPng } from '../media.js';
import type { Rig, TokenBody } from '../rig.js';
import { callRing, control, mediaError, newTokens, recordedRequests, refresh, sendEvent, startRig } from '../rig.js';

const DAY_MS = 86_400_000;

let rig: Rig;
let token: string;
/** The time of the user's consent, epoch ms. */
let consent: number;
beforeEach(async () => {
  rig = await startRig();
  consent = rig.clock.now;
  token = (await newTokens(rig)).access_token;
});
afterEach(() => rig.close());

const pathOf = (device_id: string): string => `/v1/devices/${device_id}/media/image/download`;

function ask(body: unknown, device_id = 'ada-driveway', bearer = token): Promise<Response> {
  const headers = { 'Content-Type': 'application/json' };
  return callRing(rig, 'POST', pathOf(device_id), bearer, { headers, body: JSON.stringify(body) });
}

const latest = (more: object = {}) => ({ type: 'latest_in_range', start_timestamp: consent, ...more });
const at = (timestamp: number, more: object = {}) => ({ type: 'at_timestamp', timestamp, ...more });

async function urlFor(body: unknown, device_id?: string): Promise<string> {
  const response = await ask(body, device_id);
  expect(response.status).toBe(303);
  return response.headers.get('location') ?? '';
}

/** Asks, and follows the redirect without the token. */
const download = async (body: unknown, device_id?: string): Promise<Response> => fetch(await urlFor(body, device_id));

const takenAt = (response: Response): number => Number(response.headers.get('x-media-timestamp'));

describe('what is recorded', () => {
  test('is nothing at first', async () => {
    expect(await mediaError(await download(latest()))).toEqual([416, 'MEDIA_NOT_FOUND', undefined]);
  });

  test('is nothing because a picture was asked for, or because a device went offline or online', async () => {
    await download(latest());
    await sendEvent(rig, 'device_offline', { device_id: 'ada-driveway' });
    await sendEvent(rig, 'device_online', { device_id: 'ada-driveway' });
    expect((await download(latest())).status).toBe(416);
  });

  test.each(['motion_detected', 'button_press'])('is some frames with a %s, for some seconds', async (type) => {
    await sendEvent(rig, type, { device_id: 'ada-driveway', deliver: 'dropped' });
    const start = rig.clock.now;
    rig.clock.now += 60_000;
    expect(takenAt(await download(at(start)))).toBe(start);
    expect(takenAt(await download(at(start + 2_400)))).toBe(start + 2_000);
    expect(takenAt(await download(at(start + 2_600)))).toBe(start + 3_000);
    expect((await download(at(start + 8_001))).status).toBe(416);
    expect(takenAt(await download(latest()))).toBe(start + 8_000);
    expect((await download(latest(), 'ada-front-door')).status).toBe(416);
  });

  test('has no frame of the future', async () => {
    await sendEvent(rig, 'motion_detected', { device_id: 'ada-driveway' });
    const start = rig.clock.now;
    expect(takenAt(await download(latest()))).toBe(start);
    rig.clock.now += 2_999;
    expect(takenAt(await download(latest()))).toBe(start + 2_000);
    expect(takenAt(await download(at(start + 2_999)))).toBe(start + 2_000);
  });

  test('is there for a device that is offline by now', async () => {
    await sendEvent(rig, 'motion_detected', { device_id: 'ada-driveway' });
    await sendEvent(rig, 'device_offline', { device_id: 'ada-driveway' });
    expect((await download(latest())).status).toBe(200);
  });

  test('the newest frame of the window is given, both ends included', async () => {
    const first = rig.clock.now;
    await sendEvent(rig, 'motion_detected', { device_id: 'ada-driveway' });
    rig.clock.now += 60_000;
    const second = rig.clock.now;
    await sendEvent(rig, 'motion_detected', { device_id: 'ada-driveway' });
    rig.clock.now += 60_000;
    expect(takenAt(await download(latest()))).toBe(second + 8_000);
    expect(takenAt(await download(latest({ end_timestamp: second })))).toBe(second);
    expect(takenAt(await download(latest({ end_timestamp: second - 1 })))).toBe(first + 8_000);
    const between = { start_timestamp: first + 8_001, end_timestamp: second - 1 };
    expect((await download(latest(between))).status).toBe(416);
  });
});

describe('a picture', () => {
  beforeEach(async () => {
    await sendEvent(rig, 'motion_detected', { device_id: 'ada-driveway' });
  });

  test('is on another host, behind a token', async () => {
    const url = new URL(await urlFor(latest()));
    expect(url.hostname).toBe(new URL(rig.url).hostname);
    expect(url.host).not.toBe(new URL(rig.url).host);
    expect(url.pathname + url.search).toMatch(/^\/v1\/download\?security_token=[0-9a-f]{64}$/);
  });

  test('comes with its type, the time of the frame and its origin', async () => {
    const response = await download(latest({ image_options: { format: 'png' } }));
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('image/png');
    expect(response.headers.get('x-media-timestamp')).toBe('1790000000000');
    expect(response.headers.get('x-media-origin')).toBe('recording');
    const png = await bytesOf(response);
    expect(Number(response.headers.get('content-length'))).toBe(png.length);
    expect(png.length).toBeGreaterThan(10_000);
    expect(png.length).toBeLessThan(100_000);
    expect(sizeOfPng(png)).toEqual([640, 360]);
  });

  test('of one frame is always the same, and of another frame another', async () => {
    const picture = async (body: object): Promise<Buffer> => bytesOf(await download(body));
    const first = await picture(latest());
    expect(await picture(at(rig.clock.now))).toEqual(first);
    rig.clock.now += 1_000;
    expect(await picture(latest())).not.toEqual(first);
  });

  test.each([
    ['jpeg', { width: 1920, height: 1080 }],
    ['jpeg', { width: 1, height: 1 }],
    ['png', { width: 320, height: 180 }],
  ])('is a %s of the size that was asked for, %j', async (format, resolution) => {
    const response = await download(latest({ image_options: { format, resolution } }));
    expect(response.headers.get('content-type')).toBe(`image/${format}`);
    const bytes = await bytesOf(response);
    const size = format === 'png' ? sizeOfPng(bytes) : sizeOfJpeg(bytes);
    expect(size).toEqual([resolution.width, resolution.height]);
  });

  test('for which no format was asked has the one that is set', async () => {
    await control(rig, 'PUT', '/settings', { defaultImageFormat: 'jpeg' });
    const response = await download(latest());
    expect(response.headers.get('content-type')).toBe('image/jpeg');
    sizeOfJpeg(await bytesOf(response));
  });

  test('may be a snapshot', async () => {
    const start = rig.clock.now + 1_000;
    await control(rig, 'POST', '/recordings', { user_id: 'ada', device_id: 'ada-driveway', kind: 'snapshot', start });
    rig.clock.now += 5_000;
    const response = await download(at(start + 400));
    expect(response.headers.get('x-media-origin')).toBe('snapshot');
    expect(takenAt(response)).toBe(start);
  });

  test('comes back encrypted when the user has switched that on: 200, and neither JPEG nor PNG', async () => {
    await control(rig, 'PATCH', '/devices', { user_id: 'ada', device_id: 'ada-driveway', encryption: 'account' });
    for (const format of ['jpeg', 'png']) {
      const response = await download(latest({ image_options: { format } }));
      expect(response.status).toBe(200);
      expect(response.headers.get('x-media-timestamp')).toBe('1790000000000');
      const bytes = await bytesOf(response);
      expect(bytes.subarray(0, 3)).not.toEqual(Buffer.of(0xff, 0xd8, 0xff));
      expect(bytes.subarray(0, 4)).not.toEqual(Buffer.of(0x89, 0x50, 0x4e, 0x47));
    }
  });

  test('is refused to a caller that brings its token along', async () => {
    const url = await urlFor(latest());
    const headers = { Authorization: `Bearer ${token}` };
    expect(await mediaError(await fetch(url, { headers }))).toEqual([400, 'INVALID_PAYLOAD', undefined]);
    expect((await fetch(url)).status).toBe(200);
    expect((await recordedRequests(rig)).slice(-2)).toEqual([
      expect.objectContaining({ method: 'GET', device_id: 'ada-driveway', authorization: 'present', status: 400 }),
      expect.objectContaining({ authorization: 'absent', status: 200 }),
    ]);
  });

  test('is refused after 60 s, and for an invented token', async () => {
    const url = await urlFor(latest());
    rig.clock.now += 59_999;
    expect((await fetch(url)).status).toBe(200);
    rig.clock.now += 1;
    expect(await mediaError(await fetch(url))).toEqual([403, 'REQUEST_FORBIDDEN', undefined]);
    expect((await fetch(url.replace(/token=.{4}/, 'token=0000'))).status).toBe(403);
    expect((await fetch(url.replace(/\?.*/, ''))).status).toBe(403);
  });

  test('can be larger than any app wants, with its size announced or not', async () => {
    const fault = { kind: 'large-body', status: 200, contentType: 'image/png', sizeBytes: 12_000_000 };
    await control(rig, 'PUT', '/faults', [
      { endpoint: 'media', fault, times: 1 },
      { endpoint: 'media', fault: { ...fault, announced: false } },
    ]);
    const url = await urlFor(latest());
    const announced = await fetch(url);
    expect(announced.headers.get('content-length')).toBe('12000000');
    expect(await bytesOf(announced)).toHaveLength(12_000_000);
    const unannounced = await fetch(url);
    expect(unannounced.headers.get('content-length')).toBeNull();
    expect(await bytesOf(unannounced)).toHaveLength(12_000_000);
  });
});

describe('a request is refused', () => {
  test('without a body', async () => {
    for (const headers of [{}, { 'Content-Type': 'application/json' }]) {
      const response = await callRing(rig, 'POST', pathOf('ada-driveway'), token, { headers });
      expect(await mediaError(response)).toEqual([403, 'REQUEST_FORBIDDEN', undefined]);
    }
  });

  test.each<[string, () => unknown, string]>([
    ['is no object', () => 'text', '/'],
    ['has no type', () => ({ timestamp: rig.clock.now }), '/type'],
    ['has another type', () => ({ type: 'newest', timestamp: rig.clock.now }), '/type'],
    ['has no time', () => ({ type: 'at_timestamp' }), '/timestamp'],
    ['has a time as text', () => ({ type: 'at_timestamp', timestamp: '1790000000000' }), '/timestamp'],
    ['has no start', () => ({ type: 'latest_in_range' }), '/start_timestamp'],
    ['has a field of the other type', () => at(rig.clock.now, { end_timestamp: rig.clock.now }), '/end_timestamp'],
    ['has another format', () => latest({ image_options: { format: 'webp' } }), '/image_options/format'],
    ['has a size without height', () => latest(sized({ width: 1 })), '/image_options/resolution/height'],
    ['has no width', () => latest(sized({ width: 0, height: 1 })), '/image_options/resolution/width'],
    ['is too wide', () => latest(sized({ width: 1921, height: 1 })), '/image_options/resolution/width'],
    ['is too high', () => latest(sized({ width: 1, height: 1081 })), '/image_options/resolution/height'],
    ['is for the future', () => at(rig.clock.now + 1), '/timestamp'],
    ['ends in the future', () => latest({ end_timestamp: rig.clock.now + 1 }), '/end_timestamp'],
    ['is older than 180 days', () => at(rig.clock.now - 180 * DAY_MS - 1), '/timestamp'],
    [
      'begins after its end',
      () => latest({ start_timestamp: consent, end_timestamp: consent - 1 }),
      '/start_timestamp',
    ],
    ['is longer than 24 h', () => latest({ start_timestamp: rig.clock.now - DAY_MS - 1 }), '/start_timestamp'],
  ])('when it %s', async (_what, body, pointer) => {
    expect(await mediaError(await ask(body()))).toEqual([400, 'INVALID_PAYLOAD', pointer]);
  });

  test('when it is not JSON', async () => {
    const body = JSON.stringify(latest());
    for (const init of [{ body }, { body: '{', headers: { 'Content-Type': 'application/json' } }]) {
      const response = await callRing(rig, 'POST', pathOf('ada-driveway'), token, init);
      expect(await mediaError(response)).toEqual([400, 'INVALID_PAYLOAD', '/']);
    }
  });

  test('when it reaches back to before the consent', async () => {
    await control(rig, 'POST', '/recordings', { user_id: 'ada', device_id: 'ada-driveway', start: consent - 5_000 });
    for (const body of [at(consent - 1), latest({ start_timestamp: consent - 1 })]) {
      expect(await mediaError(await ask(body))).toEqual([403, 'TIME_RANGE_NOT_AUTHORIZED', undefined]);
    }
    expect((await ask(at(consent))).status).toBe(303);
  });

  test('when the app was added again later', async () => {
    rig.clock.now += 1_000;
    token = (await newTokens(rig)).access_token;
    expect((await ask(at(consent))).status).toBe(403);
    expect((await ask(at(consent + 1_000))).status).toBe(303);
  });

  test('not when it is 24 h long', async () => {
    const { refresh_token } = await newTokens(rig);
    rig.clock.now += DAY_MS;
    token = ((await (await refresh(rig, refresh_token)).json()) as TokenBody).access_token;
    expect((await ask(latest())).status).toBe(303);
  });

  test('for nothing but the consent, when it is for 180 days ago', async () => {
    expect((await ask(at(rig.clock.now - 180 * DAY_MS))).status).toBe(403);
  });

  test('with a bad token', async () => {
    expect(await mediaError(await ask(latest(), 'ada-driveway', 'bad'))).toEqual([401, 'UNAUTHORIZED', undefined]);
  });

  test('for a device that is unknown, another user’s, removed, without video, or encrypted from end to end', async () => {
    const { id } = await control<{ id: string }>(rig, 'POST', '/users', {
      devices: [
        { id: 'bell', name: 'Bell', capabilities: { video: null } },
        { id: 'vault', name: 'Vault', encryption: 'end-to-end' },
        { id: 'shed', name: 'Shed' },
      ],
    });
    token = (await newTokens(rig, id)).access_token;
    await sendEvent(rig, 'device_removed', { user_id: id, device_id: 'shed' });
    for (const device of ['nothing', 'sam-porch', 'shed', 'bell', 'vault']) {
      expect(await mediaError(await ask(latest(), device))).toEqual([404, 'DEVICE_NOT_FOUND', undefined]);
    }
  });
});

describe('the download fails', () => {
  test('with 425 until the recording is ready', async () => {
    await control(rig, 'PUT', '/settings', { recordingReadyAfterMs: 5_000 });
    await sendEvent(rig, 'motion_detected', { device_id: 'ada-driveway' });
    rig.clock.now += 4_999;
    expect(await mediaError(await download(latest()))).toEqual([425, 'RECORDING_NOT_READY', undefined]);
    rig.clock.now += 1;
    expect((await download(latest())).status).toBe(200);
  });

  test('with 422 when the recording is corrupt', async () => {
    const recording = { user_id: 'ada', device_id: 'ada-driveway', condition: 'corrupt' };
    await control(rig, 'POST', '/recordings', recording);
    expect(await mediaError(await download(latest()))).toEqual([422, 'CORRUPT_RECORDING', undefined]);
  });

  test.each([
    [416, 'MEDIA_NOT_FOUND'],
    [422, 'CORRUPT_RECORDING'],
    [425, 'RECORDING_NOT_READY'],
    [500, 'INTERNAL_ERROR'],
    [503, 'SERVER_BUSY'],
  ])('with %i %s when it is told to', async (status, code) => {
    await control(rig, 'PUT', '/faults', [{ endpoint: 'media', fault: { kind: 'status', status } }]);
    expect(await mediaError(await download(latest()))).toEqual([status, code, undefined]);
  });
});

test('asking can be told to fail, with any code', async () => {
  const fault = { kind: 'status', status: 403, code: 'TIME_RANGE_NOT_AUTHORIZED' };
  await control(rig, 'PUT', '/faults', [{ endpoint: 'image', fault }]);
  expect(await mediaError(await ask(latest()))).toEqual([403, 'TIME_RANGE_NOT_AUTHORIZED', undefined]);
});

test('a media error has an id, a status, a code, a detail and a time, and no title', async () => {
  const response = await ask({ type: 'at_timestamp' });
  expect(await response.json()).toEqual({
    errors: [
      {
        id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        status: '400',
        code: 'INVALID_PAYLOAD',
        detail: expect.any(String),
        source: { pointer: '/timestamp' },
        meta: { timestamp: '2026-09-21T14:13:20.000Z' },
      },
    ],
  });
});

test('the body is in the record of requests', async () => {
  await ask(at(consent));
  expect((await recordedRequests(rig)).at(-1)).toMatchObject({
    device_id: 'ada-driveway',
    asked: '{"type":"at_timestamp","timestamp":1790000000000}',
  });
});

function sized(resolution: object): object {
  return { image_options: { resolution } };
}
