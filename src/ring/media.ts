import { isIP } from 'node:net';
import { RingError } from './errors.js';
import { epochMs } from './text.js';
import { type Answer, type Call, failure, type StreamedAnswer, type Transport } from './transport.js';

/**
 * What is looked up among the pictures that Ring has recorded: the one of a moment, or the newest of a time. A time without
 * an end lasts until now by Ring's clock, which refuses a future that only our clock has reached.
 */
export type PictureQuery =
  { type: 'at_timestamp'; timestamp: Date } | { type: 'latest_in_range'; start: Date; end?: Date };

export interface RingPicture {
  kind: 'picture';
  contentType: 'image/jpeg' | 'image/png';
  bytes: Buffer;
  /** When the picture was taken. */
  takenAt: Date;
}

/** The media of a Ring account that encrypts them come back as bytes that only its user's own devices can read. */
export interface EncryptedMedia {
  kind: 'encrypted';
}

/** A part of what a device has recorded, as it streams in. */
export interface RingClip {
  kind: 'clip';
  /** The bytes of an MP4 file. Reading them throws when they break off. */
  body: AsyncIterable<Uint8Array>;
  /** How many bytes there are, if Ring tells it. */
  size: number | undefined;
  /** When the first picture was taken, if Ring tells it. */
  startsAt: Date | undefined;
  /** Whether only a part of the time that was asked for is recorded. */
  isPart: boolean;
  /** How much of that time is recorded, in ms, if Ring tells it of a part. */
  recordedMs: number | undefined;
}

/** A window for the newest picture is this long at most, in ms. */
export const LONGEST_WINDOW_MS = 24 * 3_600_000;

const MAX_PICTURE_BYTES = 5 * 1000 * 1000;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** Ring is known to redirect once. */
const MAX_REDIRECTS = 4;

/** The body of a request for a picture. */
export function pictureRequest(query: PictureQuery): string {
  return JSON.stringify(
    query.type === 'at_timestamp'
      ? { type: query.type, timestamp: query.timestamp.getTime() }
      : { type: query.type, start_timestamp: query.start.getTime(), end_timestamp: query.end?.getTime() },
  );
}

/** Asks for a picture, and fetches it from where Ring redirects to. */
export function downloadPicture(transport: Transport, call: Call): Promise<RingPicture | EncryptedMedia> {
  return mediaOf(transport, call, (url) => {
    const download: Call = { name: 'GET of a picture', url, maxBytes: MAX_PICTURE_BYTES };
    return transport.exchange(download, (answer) =>
      answer.status >= 200 && answer.status <= 299 ? pictureIn(download, answer) : redirectIn(download, answer),
    );
  });
}

function pictureIn({ name }: Call, { status, headers, body }: Answer): RingPicture | EncryptedMedia {
  if (body === undefined || body.length === 0 || isPage(headers)) throw new RingError('malformed', name, { status });
  const contentType = typeOfPicture(body);
  if (contentType === undefined) return { kind: 'encrypted' };
  const takenAt = timeIn(headers);
  if (takenAt === undefined) throw new RingError('malformed', name, { status });
  return { kind: 'picture', contentType, bytes: body, takenAt };
}

/**
 * Asks for a clip, and opens the stream of it where Ring redirects to.
 *
 * @param signal ends the stream
 */
export function openClip(transport: Transport, call: Call, signal: AbortSignal): Promise<RingClip | EncryptedMedia> {
  return mediaOf(transport, call, async (url) => {
    const download: Call = { name: 'GET of a clip', url };
    const answer = await transport.stream(download, signal, (other) => redirectIn(download, other));
    return typeof answer === 'string' ? answer : clipIn(download, answer);
  });
}

async function clipIn({ name }: Call, { status, headers, body }: StreamedAnswer): Promise<RingClip | EncryptedMedia> {
  const pieces = body[Symbol.asyncIterator]();
  const start = await startOf(pieces).catch((cause: unknown) => {
    throw new RingError('no-answer', name, { cause });
  });
  if (start.length === 0 || isPage(headers)) {
    await pieces.return?.();
    throw new RingError('malformed', name, { status });
  }
  if (!isMp4(start)) {
    await pieces.return?.();
    return { kind: 'encrypted' };
  }
  return {
    kind: 'clip',
    body: precededBy(start, pieces),
    // The length of a compressed body is not that of the bytes that come out of it.
    size: headers.has('content-encoding') ? undefined : numberIn(headers, 'content-length'),
    startsAt: timeIn(headers),
    isPart: status === 206,
    recordedMs: status === 206 ? numberIn(headers, 'x-media-length') : undefined,
  };
}

/**
 * Asks Ring for media, and fetches them from where it redirects to: a pre-signed URL on another host, which may redirect in
 * turn. None of these hosts must see the bearer token.
 *
 * @param fetchFrom gives the media, or the URL of the next redirect
 * @throws {RingError}
 * @see https://developer.amazon.com/docs/ring/api-documentation.html
 */
async function mediaOf<Media extends object>(
  transport: Transport,
  call: Call,
  fetchFrom: (url: string) => Promise<Media | string>,
): Promise<Media> {
  let url = await transport.exchange(call, (answer) => redirectIn(call, answer));
  for (let redirects = 1; redirects <= MAX_REDIRECTS; redirects++) {
    const found = await fetchFrom(url).catch((error: unknown) => {
      throw asStorages(error);
    });
    if (typeof found !== 'string') return found;
    url = found;
  }
  throw new RingError('malformed', call.name);
}

/** The URL that an answer redirects to. @throws {RingError} when it is no redirect, or leads to where it is not safe to go */
function redirectIn(call: Call, answer: Answer): string {
  if (!REDIRECTS.has(answer.status)) throw failure(call.name, answer);
  const target = storageUrl(call, answer.headers.get('location') ?? '');
  if (target === undefined) throw new RingError('malformed', call.name, { status: answer.status });
  return target.href;
}

/** The codes that tell something of the recording, or of the time that was asked for. Ring's storage answers with them, too. */
const RECORDING_CODES = new Set([
  'TIME_RANGE_NOT_AUTHORIZED',
  'MEDIA_NOT_FOUND',
  'TIMESTAMP_NOT_FOUND',
  'CORRUPT_RECORDING',
  'RECORDING_NOT_READY',
]);

/** Any other 4xx from storage is not Ring's refusal: it says nothing about our token, nor about the device. */
function asStorages(error: unknown): unknown {
  const isStorages =
    error instanceof RingError &&
    error.status !== undefined &&
    error.status >= 400 &&
    error.status < 500 &&
    error.kind !== 'rate-limited' &&
    !RECORDING_CODES.has(error.code ?? '');
  return isStorages ? new RingError('unavailable', error.call, { cause: error }) : error;
}

/** The type of a picture by its first bytes: a browser is told this one, whatever storage says. */
function typeOfPicture(bytes: Buffer): RingPicture['contentType'] | undefined {
  if (bytes.subarray(0, 3).equals(Buffer.from([0xff, 0xd8, 0xff]))) return 'image/jpeg';
  if (bytes.subarray(0, 8).equals(Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'))) return 'image/png';
  return undefined;
}

/** An MP4 file begins with the length and the name of its first box. */
const isMp4 = (start: Buffer): boolean =>
  /^(ftyp|styp|moov|moof|mdat|free|skip|wide|pnot|sidx|emsg|uuid)$/.test(start.toString('latin1', 4, 8));

/** Whether a proxy in between has answered with a page, or with an error in the body of a success. */
const isPage = (headers: Headers): boolean =>
  /^(text\/|application\/(json|xml))/i.test(headers.get('content-type') ?? '');

function timeIn(headers: Headers): Date | undefined {
  return epochMs.safeParse(numberIn(headers, 'x-media-timestamp')).data;
}

function numberIn(headers: Headers, name: string): number | undefined {
  const text = headers.get(name) ?? '';
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/** The first pieces, until there is enough to tell what they are. */
async function startOf(pieces: AsyncIterator<Uint8Array>): Promise<Buffer> {
  let start = Buffer.alloc(0);
  while (start.length < 8) {
    const next = await pieces.next();
    if (next.done === true) break;
    start = Buffer.concat([start, next.value]);
  }
  return start;
}

async function* precededBy(first: Uint8Array, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield first;
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}

/**
 * The URL of the media, if it is safe to fetch: over TLS, and on a host with a public name, so that it can't be an address
 * of our own network. Plain http and addresses are taken when the API itself is on plain http, as the simulator is.
 */
function storageUrl(call: Call, location: string): URL | undefined {
  if (location === '' || !URL.canParse(location, call.url)) return undefined;
  const url = new URL(location, call.url);
  const isSafe = url.protocol === 'https:' || (url.protocol === 'http:' && call.url.startsWith('http:'));
  const isNamed = call.url.startsWith('http:') || isPublicName(url.hostname);
  return isSafe && isNamed && url.username === '' && url.password === '' ? url : undefined;
}

/** Whether a host has a name of several labels, and no address. A dot at the end does not count as a label. */
const isPublicName = (host: string): boolean => isIP(host.replace(/[[\]]/g, '')) === 0 && /[^.]\.[^.]/.test(host);
