import { isIP } from 'node:net';
import { RingError } from './errors.js';
import { type Call, failure, type Transport } from './transport.js';

export interface RingImage {
  contentType: string;
  bytes: Buffer;
}

const MAX_IMAGE_BYTES = 5 * 1000 * 1000;
/** The types that every browser shows, and that can't be taken for a page. */
const IMAGE_TYPE = /^image\/(jpeg|png|webp|avif)$/;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/**
 * Asks for a picture and fetches it from the pre-signed URL that Ring redirects to. That is another host, which must not see
 * the bearer token.
 *
 * @see https://developer.amazon.com/docs/ring/api-documentation.html
 */
export async function downloadImage(transport: Transport, call: Call): Promise<RingImage> {
  const url = await transport.exchange(call, (redirect) => {
    if (!REDIRECTS.has(redirect.status)) throw failure(call.name, redirect);
    const target = storageUrl(call, redirect.headers.get('location') ?? '');
    if (target === undefined) throw new RingError('malformed', call.name, { status: redirect.status });
    return target;
  });
  const download: Call = { name: 'GET of a picture', url: url.href, maxBytes: MAX_IMAGE_BYTES };
  try {
    return await transport.succeed(download, ({ status, headers, body }) => {
      const contentType = (headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
      if (body === undefined || body.length === 0 || !IMAGE_TYPE.test(contentType)) {
        throw new RingError('malformed', download.name, { status });
      }
      return { contentType, bytes: body };
    });
  } catch (error) {
    throw notRings(error);
  }
}

/** A 4xx from storage is not Ring's refusal: it says nothing about our token, nor about the device. */
function notRings(error: unknown): unknown {
  const is4xx = error instanceof RingError && error.status !== undefined && error.status >= 400 && error.status < 500;
  return is4xx && error.kind !== 'rate-limited' ? new RingError('unavailable', error.call, { cause: error }) : error;
}

/**
 * The URL of the picture, if it is safe to fetch: over TLS, and on a host with a public name, so that it can't be an address
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
