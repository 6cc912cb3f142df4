import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, test } from '@jest/globals';
import {
  ACCESS_TOKEN,
  clientOf,
  closeStandIns,
  failureOf,
  listen,
  type Received,
} from '../support/clients/stand-in.js';
import { scaled } from '../support/waiting/limits.js';

afterEach(closeStandIns);

const DEVICE = 'ava1.ring.device.AAAA1111';
const TAKEN_AT = 1_789_513_622_925;
const JPEG = Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0x00, 0x10]);
const PNG = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00]);
const MP4 = Buffer.concat([Buffer.from([0, 0, 0, 16]), Buffer.from('ftypisom'), Buffer.alloc(4_000, 7)]);

interface Storage {
  status?: number;
  headers?: Record<string, string>;
  body?: string | Buffer;
}

/** Ring, which redirects each request for media to its storage, and the storage's answer. */
async function withStorage({ status = 200, headers = {}, body = JPEG }: Storage) {
  const received: Received[] = [];
  const url = await listen((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method, url: path, headers: sent } = request;
      received.push({ method, path, headers: sent, body: Buffer.concat(chunks).toString() });
      if (method === 'POST') response.writeHead(303, { location: '/v1/download?security_token=s' }).end();
      else response.writeHead(status, { 'x-media-timestamp': String(TAKEN_AT), ...headers }).end(body);
    });
  });
  return { client: clientOf(url), received };
}

const mediaError = (code: string): string =>
  JSON.stringify({ errors: [{ id: 'r-1', status: '4', code, detail: 'of this request', meta: { timestamp: 1 } }] });

const MOMENT = { type: 'at_timestamp', timestamp: new Date(1_789_513_622_000) } as const;
const CLIP = { startsAt: new Date(1_789_513_622_000), durationMs: 30_000 };
const signal = new AbortController().signal;

describe('a picture', () => {
  test.each([
    ['of a moment', MOMENT, { type: 'at_timestamp', timestamp: 1_789_513_622_000 }],
    [
      'of a time until now',
      { type: 'latest_in_range', start: new Date(5) },
      { type: 'latest_in_range', start_timestamp: 5 },
    ],
    [
      'of a time',
      { type: 'latest_in_range', start: new Date(5), end: new Date(7) },
      { type: 'latest_in_range', start_timestamp: 5, end_timestamp: 7 },
    ],
  ] as const)('%s is asked for in JSON, and fetched without the token', async (_what, query, body) => {
    const { client, received } = await withStorage({});
    await client.downloadPicture(ACCESS_TOKEN, DEVICE, query);

    expect(received).toMatchObject([
      {
        method: 'POST',
        path: `/v1/devices/${DEVICE}/media/image/download`,
        headers: { 'content-type': 'application/json', authorization: `Bearer ${ACCESS_TOKEN}` },
      },
      { method: 'GET', path: '/v1/download?security_token=s' },
    ]);
    expect(JSON.parse(received[0]?.body ?? '')).toEqual(body);
    expect(received[1]?.headers.authorization).toBeUndefined();
  });

  test.each([
    ['JPEG', JPEG, 'image/jpeg'],
    ['PNG', PNG, 'image/png'],
  ])('has the time at which it was taken, and the type of its bytes: %s', async (_type, body, contentType) => {
    const { client } = await withStorage({ body, headers: { 'content-type': 'image/webp' } });
    expect(await client.downloadPicture(ACCESS_TOKEN, DEVICE, MOMENT)).toEqual({
      kind: 'picture',
      contentType,
      bytes: body,
      takenAt: new Date(TAKEN_AT),
    });
  });

  test('that is neither JPEG nor PNG is encrypted', async () => {
    const { client } = await withStorage({ body: Buffer.alloc(900, 0x5a), headers: { 'content-type': 'image/jpeg' } });
    expect(await client.downloadPicture(ACCESS_TOKEN, DEVICE, MOMENT)).toEqual({ kind: 'encrypted' });
  });

  test.each<[string, Storage]>([
    ['a page', { body: '<p>Sign in', headers: { 'content-type': 'text/html' } }],
    ['JSON', { body: '{}', headers: { 'content-type': 'application/json; charset=utf-8' } }],
    ['nothing', { body: '' }],
    ['more than a picture can be', { body: Buffer.concat([JPEG, Buffer.alloc(6_000_000)]) }],
    ['no time', { headers: { 'x-media-timestamp': '' } }],
    ['a time in words', { headers: { 'x-media-timestamp': 'now' } }],
  ])('in whose place storage sends %s is malformed', async (_what, storage) => {
    const { client } = await withStorage(storage);
    expect((await failureOf(client.downloadPicture(ACCESS_TOKEN, DEVICE, MOMENT))).kind).toBe('malformed');
  });

  test.each([
    [403, 'TIME_RANGE_NOT_AUTHORIZED', 'rejected', 'TIME_RANGE_NOT_AUTHORIZED'],
    [416, 'MEDIA_NOT_FOUND', 'rejected', 'MEDIA_NOT_FOUND'],
    [422, 'CORRUPT_RECORDING', 'rejected', 'CORRUPT_RECORDING'],
    [425, 'RECORDING_NOT_READY', 'unavailable', 'RECORDING_NOT_READY'],
    [503, 'SERVER_BUSY', 'unavailable', 'SERVER_BUSY'],
    // Storage says nothing about our token, nor about the device.
    [401, 'UNAUTHORIZED', 'unavailable', undefined],
    [403, 'REQUEST_FORBIDDEN', 'unavailable', undefined],
    [404, 'DEVICE_NOT_FOUND', 'unavailable', undefined],
  ])('storage answers %i %s: %s', async (status, code, kind, known) => {
    const { client } = await withStorage({ status, body: mediaError(code) });
    const error = await failureOf(client.downloadPicture(ACCESS_TOKEN, DEVICE, MOMENT));
    expect({ kind: error.kind, code: error.code }).toEqual({ kind, code: known });
  });
});

describe('storage', () => {
  /** Ring, and a storage that redirects so often, relative to itself, before it gives what is stored. */
  async function redirecting(times: number, body: Buffer) {
    const received: Received[] = [];
    const url = await listen(({ method, url: path = '', headers }, response) => {
      received.push({ method, path, headers, body: '' });
      const hop = Number(/\/download\/(\d+)$/.exec(path)?.[1] ?? 0);
      if (method === 'POST') response.writeHead(303, { location: '/v1/download/1' }).end();
      else if (hop < times) response.writeHead(hop === 1 ? 301 : 303, { location: `${hop + 1}` }).end('moved');
      else response.writeHead(200, { 'x-media-timestamp': String(TAKEN_AT) }).end(body);
    });
    return { client: clientOf(url), received };
  }

  test('may redirect in turn, and is followed without the token', async () => {
    const { client, received } = await redirecting(3, JPEG);
    expect(await client.downloadPicture(ACCESS_TOKEN, DEVICE, MOMENT)).toMatchObject({ kind: 'picture' });
    expect(received.map(({ method, headers }) => [method, headers.authorization])).toEqual([
      ['POST', `Bearer ${ACCESS_TOKEN}`],
      ['GET', undefined],
      ['GET', undefined],
      ['GET', undefined],
    ]);
  });

  test('may redirect in turn before a clip, too', async () => {
    const { client, received } = await redirecting(3, MP4);
    expect(await client.openClip(ACCESS_TOKEN, DEVICE, CLIP, signal)).toMatchObject({ kind: 'clip' });
    expect(received.slice(1).map(({ path }) => path)).toEqual(['/v1/download/1', '/v1/download/2', '/v1/download/3']);
    expect(received.slice(1).every(({ headers }) => headers.authorization === undefined)).toBe(true);
  });

  test('is not followed for ever', async () => {
    const { client, received } = await redirecting(100, JPEG);
    expect((await failureOf(client.downloadPicture(ACCESS_TOKEN, DEVICE, MOMENT))).kind).toBe('malformed');
    expect((await failureOf(client.openClip(ACCESS_TOKEN, DEVICE, CLIP, signal))).kind).toBe('malformed');
    expect(received).toHaveLength(10);
  });
});

describe('a clip', () => {
  async function bytesOf(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  test('is asked for by its start and length, and streamed without the token', async () => {
    const { client, received } = await withStorage({ body: MP4, headers: { 'content-length': String(MP4.length) } });
    const clip = await client.openClip(ACCESS_TOKEN, DEVICE, CLIP, signal);

    if (clip.kind !== 'clip') throw new Error('it is a clip');
    expect(await bytesOf(clip.body)).toEqual(MP4);
    expect(clip).toMatchObject({ size: MP4.length, startsAt: new Date(TAKEN_AT), isPart: false });
    expect(received).toMatchObject([
      { path: `/v1/devices/${DEVICE}/media/video/download`, headers: { authorization: `Bearer ${ACCESS_TOKEN}` } },
      { path: '/v1/download?security_token=s' },
    ]);
    expect(JSON.parse(received[0]?.body ?? '')).toEqual({ timestamp: 1_789_513_622_000, duration: 30_000 });
    expect(received[1]?.headers.authorization).toBeUndefined();
  });

  test.each<[string, Record<string, string>, number | undefined]>([
    ['how much', { 'x-media-length': '12000' }, 12_000],
    ['so, also when Ring does not tell how much', {}, undefined],
  ])('that was recorded only in part says %s', async (_what, headers, recordedMs) => {
    const { client } = await withStorage({ status: 206, body: MP4, headers });
    const clip = await client.openClip(ACCESS_TOKEN, DEVICE, CLIP, signal);
    if (clip.kind !== 'clip') throw new Error('it is a clip');
    expect({ isPart: clip.isPart, recordedMs: clip.recordedMs }).toEqual({ isPart: true, recordedMs });
    await bytesOf(clip.body);
  });

  test('that is no MP4 file is encrypted', async () => {
    const { client } = await withStorage({ body: Buffer.alloc(900, 0x5a), headers: { 'content-type': 'video/mp4' } });
    expect(await client.openClip(ACCESS_TOKEN, DEVICE, CLIP, signal)).toEqual({ kind: 'encrypted' });
  });

  test('of a time when nothing was recorded', async () => {
    const { client } = await withStorage({ status: 416, body: mediaError('TIMESTAMP_NOT_FOUND') });
    expect(await failureOf(client.openClip(ACCESS_TOKEN, DEVICE, CLIP, signal))).toMatchObject({
      kind: 'rejected',
      code: 'TIMESTAMP_NOT_FOUND',
    });
  });

  test('does not break off because its reader is late', async () => {
    const large = Buffer.concat([MP4, Buffer.alloc(4_000_000, 7)]);
    const url = await listen((request, response) => {
      if (request.method === 'POST') response.writeHead(303, { location: '/v1/download' }).end();
      else response.writeHead(200).end(large);
    });
    const clip = await clientOf(url, { timeoutMs: scaled(300) }).openClip(ACCESS_TOKEN, DEVICE, CLIP, signal);
    if (clip.kind !== 'clip') throw new Error('it is a clip');
    await delay(scaled(400));
    // Jest takes long to compare so many bytes.
    expect((await bytesOf(clip.body)).equals(large)).toBe(true);
  });

  test('that its reader leaves before it begins is no failed call to Ring', async () => {
    const leaving = new AbortController();
    const endpoints: string[] = [];
    const url = await listen((request, response) => {
      if (request.method === 'POST') response.writeHead(303, { location: '/v1/download' }).end();
      else leaving.abort();
    });
    const client = clientOf(url, { onCall: ({ endpoint }) => endpoints.push(endpoint) });
    await failureOf(client.openClip(ACCESS_TOKEN, DEVICE, CLIP, leaving.signal));
    expect(endpoints).toEqual(['POST /v1/devices/{id}/media/video/download']);
  });

  test('that stops coming breaks off', async () => {
    const url = await listen((request, response) => {
      if (request.method === 'POST') response.writeHead(303, { location: '/v1/download' }).end();
      else response.writeHead(200).write(MP4);
    });
    const clip = await clientOf(url, { timeoutMs: scaled(300) }).openClip(ACCESS_TOKEN, DEVICE, CLIP, signal);
    if (clip.kind !== 'clip') throw new Error('it is a clip');
    await expect(bytesOf(clip.body)).rejects.toThrow('silent');
  });
});
