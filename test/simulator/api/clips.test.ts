import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { boxAt, boxesOf, bytesOf, durationOf } from '../media.js';
import type { Rig } from '../rig.js';
import { callRing, control, mediaError, newTokens, sendEvent, startRig } from '../rig.js';

let rig: Rig;
let token: string;
/** The beginning of a motion of 20 s that is over, epoch ms. */
let start: number;
beforeEach(async () => {
  rig = await startRig();
  await control(rig, 'PUT', '/settings', { recordingMs: 20_000 });
  token = (await newTokens(rig)).access_token;
  rig.clock.now += 60_000;
  start = rig.clock.now;
  await sendEvent(rig, 'motion_detected', { device_id: 'ada-driveway' });
  rig.clock.now += 60_000;
});
afterEach(() => rig.close());

function ask(body: unknown, device_id = 'ada-driveway', bearer = token): Promise<Response> {
  return callRing(rig, 'POST', `/v1/devices/${device_id}/media/video/download`, bearer, {
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
}

async function urlFor(body: unknown): Promise<string> {
  const response = await ask(body);
  expect(response.status).toBe(303);
  return response.headers.get('location') ?? '';
}

const download = async (body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(await urlFor(body), { headers });

describe('a clip', () => {
  test('is on the media host, and whole when all of it was recorded', async () => {
    const response = await download({ timestamp: start + 2_000, duration: 5_500 });
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('video/mp4');
    expect(response.headers.get('x-media-timestamp')).toBe('1790000062000');
    expect(response.headers.get('x-media-length')).toBeNull();
    const mp4 = await bytesOf(response);
    expect(boxesOf(mp4).map(({ type }) => type)).toEqual(['ftyp', 'moov', 'mdat']);
    expect(durationOf(mp4)).toBe(5_500);
  });

  test('has a picture for each second, each where its table says', async () => {
    const mp4 = await bytesOf(await download({ timestamp: start, duration: 6_000 }));
    const table = (type: string): Buffer => boxAt(mp4, 'moov', 'trak', 'mdia', 'minf', 'stbl', type);
    const sizes = Array.from({ length: 6 }, (_, index) => table('stsz').readUInt32BE(12 + 4 * index));
    const offsets = Array.from({ length: 6 }, (_, index) => table('stco').readUInt32BE(8 + 4 * index));
    for (const [index, at] of offsets.entries()) {
      expect(mp4.readUInt32BE(at) + 4).toBe(sizes[index]);
      // A unit of H.264 with a picture that needs no other.
      expect(mp4[at + 4]).toBe(0x65);
    }
  });

  test.each([
    ['begins before the recording', () => ({ timestamp: start - 5_000, duration: 10_000 }), 0, 5_000],
    ['ends after it', () => ({ timestamp: start + 15_000, duration: 10_000 }), 15_000, 5_000],
    ['contains it', () => ({ timestamp: start - 1_000, duration: 900_000 }), 0, 20_000],
  ])('is 206 and a part when it %s', async (_what, body, from, length) => {
    const response = await download(body());
    expect(response.status).toBe(206);
    expect(response.headers.get('x-media-timestamp')).toBe(String(start + from));
    expect(response.headers.get('x-media-length')).toBe(String(length));
    expect(durationOf(await bytesOf(response))).toBe(length);
  });

  test('is 416 when nothing was recorded then', async () => {
    for (const timestamp of [start - 10_000, start + 20_001]) {
      const response = await download({ timestamp, duration: 9_000 });
      expect(await mediaError(response)).toEqual([416, 'TIMESTAMP_NOT_FOUND', undefined]);
    }
  });

  test('is 425 while it is being recorded, and 422 when it is corrupt', async () => {
    const of = { user_id: 'ada', device_id: 'ada-driveway', start: rig.clock.now };
    await control(rig, 'POST', '/recordings', { ...of, condition: 'corrupt' });
    const wanted = { timestamp: rig.clock.now, duration: 1_000 };
    rig.clock.now += 19_999;
    expect(await mediaError(await download(wanted))).toEqual([425, 'RECORDING_NOT_READY', undefined]);
    rig.clock.now += 1;
    expect(await mediaError(await download(wanted))).toEqual([422, 'CORRUPT_RECORDING', undefined]);
  });

  test('is 425 until its recording is ready', async () => {
    const of = { user_id: 'ada', device_id: 'ada-driveway' };
    expect(await control(rig, 'GET', '/recordings')).toHaveLength(1);
    await control(rig, 'POST', '/recordings', {
      ...of,
      kind: 'on_demand',
      ready_at: rig.clock.now + 2_000,
      end: rig.clock.now,
    });
    const wanted = { timestamp: rig.clock.now, duration: 1_000 };
    expect((await download(wanted)).status).toBe(425);
    rig.clock.now += 2_000;
    expect((await download(wanted)).status).toBe(206);
  });

  test('can be larger, and still well-formed', async () => {
    await control(rig, 'PUT', '/settings', { clipMinBytes: 1_000_000 });
    const mp4 = await bytesOf(await download({ timestamp: start, duration: 5_000 }));
    expect(mp4).toHaveLength(1_000_000);
    expect(boxesOf(mp4).map(({ type }) => type)).toEqual(['ftyp', 'moov', 'mdat', 'free']);
  });

  test('comes back encrypted when the user has switched that on', async () => {
    await control(rig, 'PATCH', '/devices', { user_id: 'ada', device_id: 'ada-driveway', encryption: 'account' });
    const response = await download({ timestamp: start, duration: 5_000 });
    expect(response.status).toBe(200);
    expect((await bytesOf(response)).toString('latin1', 4, 8)).not.toBe('ftyp');
  });

  test('is given in ranges to those who ask for them', async () => {
    const url = await urlFor({ timestamp: start, duration: 5_000 });
    const whole = await bytesOf(await fetch(url));
    const part = async (range: string): Promise<[number, string | null, Buffer]> => {
      const response = await fetch(url, { headers: { Range: range } });
      return [response.status, response.headers.get('content-range'), await bytesOf(response)];
    };
    const size = whole.length;
    expect(await part('bytes=0-9')).toEqual([206, `bytes 0-9/${size}`, whole.subarray(0, 10)]);
    expect(await part(`bytes=${size - 5}-`)).toEqual([
      206,
      `bytes ${size - 5}-${size - 1}/${size}`,
      whole.subarray(-5),
    ]);
    expect(await part('bytes=-5')).toEqual([206, `bytes ${size - 5}-${size - 1}/${size}`, whole.subarray(-5)]);
    expect(await part(`bytes=${size}-`)).toEqual([416, `bytes */${size}`, Buffer.alloc(0)]);
    expect((await part('bytes=0-1,4-5'))[0]).toBe(200);
  });

  test('is refused to a caller that brings its token along', async () => {
    const response = await download({ timestamp: start, duration: 1_000 }, { Authorization: `Bearer ${token}` });
    expect(response.status).toBe(400);
  });
});

test('downloading never records', async () => {
  await download({ timestamp: start, duration: 1_000 });
  expect(await control(rig, 'GET', '/recordings')).toHaveLength(1);
});

test('the redirect may be 301', async () => {
  await control(rig, 'PUT', '/settings', { clipRedirect: 301 });
  const response = await ask({ timestamp: start, duration: 1_000 });
  expect(response.status).toBe(301);
  expect((await fetch(response.headers.get('location') ?? '')).status).toBe(200);
});

describe('a request', () => {
  test('may have all options', async () => {
    const video_options = { codec: 'hevc', frame_rate: 25, resolution: { width: 1_920, height: 1_080 } };
    const audio_options = { audio_enabled: false };
    expect((await ask({ timestamp: start, duration: 900_000, video_options, audio_options })).status).toBe(303);
    expect((await ask({ timestamp: start, duration: 1, video_options: {}, audio_options: {} })).status).toBe(303);
  });

  test.each<[string, object, string]>([
    ['has no time', { timestamp: undefined }, '/timestamp'],
    ['has no duration', { duration: undefined }, '/duration'],
    ['has no length', { duration: 0 }, '/duration'],
    ['is longer than 900 s', { duration: 900_001 }, '/duration'],
    ['has another codec', { video_options: { codec: 'vp8' } }, '/video_options/codec'],
    ['is too fast', { video_options: { frame_rate: 26 } }, '/video_options/frame_rate'],
    ['is too wide', { video_options: { resolution: { width: 1_921, height: 1 } } }, '/video_options/resolution/width'],
    ['is too high', { video_options: { resolution: { width: 1, height: 1_081 } } }, '/video_options/resolution/height'],
    ['has no yes or no for sound', { audio_options: { audio_enabled: 'on' } }, '/audio_options/audio_enabled'],
    ['is for the future', { timestamp: 1_800_000_000_000 }, '/timestamp'],
  ])('is refused when it %s', async (_what, change, pointer) => {
    const response = await ask({ timestamp: start, duration: 1_000, ...change });
    expect(await mediaError(response)).toEqual([400, 'INVALID_PAYLOAD', pointer]);
  });

  test('is refused without a body, before the consent, for a bad token and for a device without video', async () => {
    const path = '/v1/devices/ada-driveway/media/video/download';
    expect(await mediaError(await callRing(rig, 'POST', path, token))).toEqual([403, 'REQUEST_FORBIDDEN', undefined]);
    const wanted = { timestamp: start, duration: 1_000 };
    const early = await ask({ ...wanted, timestamp: start - 60_001 });
    expect(await mediaError(early)).toEqual([403, 'TIME_RANGE_NOT_AUTHORIZED', undefined]);
    expect(await mediaError(await ask(wanted, 'ada-driveway', 'bad'))).toEqual([401, 'UNAUTHORIZED', undefined]);
    token = (await newTokens(rig, 'sam')).access_token;
    expect(await mediaError(await ask(wanted, 'sam-garage'))).toEqual([404, 'DEVICE_NOT_FOUND', undefined]);
  });

  test('and the download can be told to fail', async () => {
    await control(rig, 'PUT', '/faults', [{ endpoint: 'clip-media', fault: { kind: 'status', status: 416 } }]);
    const wanted = { timestamp: start, duration: 1_000 };
    expect(await mediaError(await download(wanted))).toEqual([416, 'TIMESTAMP_NOT_FOUND', undefined]);
    await control(rig, 'PUT', '/faults', [{ endpoint: 'clip', fault: { kind: 'status', status: 503 } }]);
    expect(await mediaError(await ask(wanted))).toEqual([503, 'SERVER_BUSY', undefined]);
  });
});
