import { crc32, inflateSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Rig } from '../rig.js';
import { callRing, control, newTokens, recordedRequests, sendEvent, startRig } from '../rig.js';

let rig: Rig;
let token: string;
beforeEach(async () => {
  rig = await startRig();
  token = (await newTokens(rig)).access_token;
});
afterEach(() => rig.close());

const askForImage = (device_id = 'ada-driveway'): Promise<Response> =>
  callRing(rig, 'POST', `/v1/devices/${device_id}/media/image/download`, token);

async function newImageUrl(): Promise<string> {
  const response = await askForImage();
  expect(response.status).toBe(302);
  return response.headers.get('location') ?? '';
}

const bytesOf = async (response: Response): Promise<Buffer> => Buffer.from(await response.arrayBuffer());

/** The chunks of a PNG. Expects each checksum to be right. */
function chunksOf(png: Buffer): { type: string; data: Buffer }[] {
  expect(png.subarray(0, 8)).toEqual(Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'));
  const chunks: { type: string; data: Buffer }[] = [];
  for (let at = 8; at < png.length;) {
    const end = at + 8 + png.readUInt32BE(at);
    chunks.push({ type: png.toString('latin1', at + 4, at + 8), data: png.subarray(at + 8, end) });
    expect(crc32(png.subarray(at + 4, end))).toBe(png.readUInt32BE(end));
    at = end + 4;
  }
  return chunks;
}

describe('a picture', () => {
  test('is on another host, reached under the same name', async () => {
    const url = new URL(await newImageUrl());
    expect(url.hostname).toBe(new URL(rig.url).hostname);
    expect(url.host).not.toBe(new URL(rig.url).host);
  });

  test('is a valid PNG of a size that pictures have, and different each time', async () => {
    const url = await newImageUrl();
    const response = await fetch(url);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('image/png');
    const png = await bytesOf(response);
    expect(Number(response.headers.get('content-length'))).toBe(png.length);
    expect(png.length).toBeGreaterThan(10_000);
    expect(png.length).toBeLessThan(100_000);

    const [header, , pixels, last] = chunksOf(png);
    expect(header?.type).toBe('IHDR');
    const [width = 0, height = 0] = [header?.data.readUInt32BE(0), header?.data.readUInt32BE(4)];
    expect(inflateSync(pixels?.data ?? '')).toHaveLength(height * (width + 1));
    expect(last?.type).toBe('IEND');

    expect(await bytesOf(await fetch(url))).not.toEqual(png);
  });

  test('is refused to a caller that brings its token along', async () => {
    const url = await newImageUrl();
    expect((await fetch(url, { headers: { Authorization: `Bearer ${token}` } })).status).toBe(400);
    expect((await fetch(url)).status).toBe(200);
    expect((await recordedRequests(rig)).slice(-2)).toEqual([
      expect.objectContaining({ method: 'GET', device_id: 'ada-driveway', authorization: 'present', status: 400 }),
      expect.objectContaining({ authorization: 'absent', status: 200 }),
    ]);
  });

  test('is refused after 60 s, and for an invented signature', async () => {
    const url = await newImageUrl();
    rig.clock.now += 59_999;
    expect((await fetch(url)).status).toBe(200);
    rig.clock.now += 1;
    expect((await fetch(url)).status).toBe(403);
    expect((await fetch(url.replace(/signature=.{4}/, 'signature=0000'))).status).toBe(403);
    expect((await fetch(url.replace(/\?.*/, ''))).status).toBe(403);
  });

  test('can be larger than any app wants, with its size announced or not', async () => {
    const fault = { kind: 'large-body', status: 200, contentType: 'image/png', sizeBytes: 12_000_000 };
    await control(rig, 'PUT', '/faults', [
      { endpoint: 'media', fault, times: 1 },
      { endpoint: 'media', fault: { ...fault, announced: false } },
    ]);
    const url = await newImageUrl();
    const announced = await fetch(url);
    expect(announced.headers.get('content-length')).toBe('12000000');
    expect(await bytesOf(announced)).toHaveLength(12_000_000);
    const unannounced = await fetch(url);
    expect(unannounced.headers.get('content-length')).toBeNull();
    expect(await bytesOf(unannounced)).toHaveLength(12_000_000);
  });
});

test('a device that is offline has no picture: 503; one that was removed is 404', async () => {
  await sendEvent(rig, 'device_offline', { device_id: 'ada-driveway' });
  expect((await askForImage()).status).toBe(503);
  await sendEvent(rig, 'device_removed', { device_id: 'ada-driveway' });
  expect((await askForImage()).status).toBe(404);
});

test('a bad token is 401, and asking can be told to fail', async () => {
  expect((await callRing(rig, 'POST', '/v1/devices/ada-driveway/media/image/download', 'bad')).status).toBe(401);
  await control(rig, 'PUT', '/faults', [{ endpoint: 'image', fault: { kind: 'status', status: 500 } }]);
  expect((await askForImage()).status).toBe(500);
});
