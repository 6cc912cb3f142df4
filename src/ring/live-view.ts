import { RingError } from './errors.js';
import type { Call, Transport } from './transport.js';

/**
 * Opens a WHEP session with an SDP offer. It ends by itself after 30 s (battery) or 60 s (line power).
 *
 * @returns Ring's SDP answer, and the path whose DELETE closes the session
 * @see https://developer.amazon.com/docs/ring/api-documentation.html
 */
export function openLiveView(
  transport: Transport,
  call: Call,
  offer: string,
): Promise<{ answer: string; sessionPath: string }> {
  const headers = { ...call.headers, 'content-type': 'application/sdp', accept: 'application/sdp' };
  return transport.succeed({ ...call, headers, body: offer }, ({ status, headers: answered, body }) => {
    const location = answered.get('location') ?? '';
    const url = URL.canParse(location, call.url) ? new URL(location, call.url) : undefined;
    const answer = body?.toString('utf8') ?? '';
    // The bearer token will be sent to this URL, so it must be Ring's.
    const isOwn = url?.origin === new URL(call.url).origin && /\/sessions\/[^/]+$/.test(url.pathname);
    if (status !== 201 || !isOwn || !answer.startsWith('v=0')) throw new RingError('malformed', call.name, { status });
    return { answer, sessionPath: url.pathname + url.search };
  });
}
