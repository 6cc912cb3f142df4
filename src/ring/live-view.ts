import { RingError } from './errors.js';
import type { Call, Transport } from './transport.js';

export interface OpenedLiveView {
  /** Ring's SDP answer. */
  answer: string;
  /** The path whose DELETE closes the session; null when Ring named none, and the session ends by itself alone. */
  sessionPath: string | null;
}

/**
 * Opens a WHEP session with an SDP offer, whose ICE gathering must be complete. It ends by itself after 30 s (battery) or
 * 60 s (line power).
 *
 * @see https://developer.amazon.com/docs/ring/api-documentation.html
 */
export function openLiveView(transport: Transport, call: Call, offer: string): Promise<OpenedLiveView> {
  const headers = { ...call.headers, 'content-type': 'application/sdp', accept: 'application/sdp' };
  return transport.succeed({ ...call, headers, body: offer }, ({ status, headers: answered, body }) => {
    const answer = body?.toString('utf8') ?? '';
    if (!answer.startsWith('v=0')) throw new RingError('malformed', call.name, { status });
    // A session whose address is odd is shown all the same: the picture is what its user waits for.
    return { answer, sessionPath: sessionPath(call.url, answered.get('location') ?? '') };
  });
}

/**
 * The path of a session. The bearer token is sent to it, so an address that leads elsewhere gives no more than its last part,
 * the session's ID, to the path where Ring documents that sessions are.
 */
function sessionPath(sessionsUrl: string, location: string): string | null {
  const sessions = new URL(sessionsUrl);
  if (location === '' || !URL.canParse(location, `${sessionsUrl}/`)) return null;
  const url = new URL(location, `${sessionsUrl}/`);
  const path = url.pathname.replace(/\/+$/, '');
  if (url.origin === sessions.origin && /\/sessions\/[^/]+$/.test(path)) return path + url.search;
  const id = path.slice(path.lastIndexOf('/') + 1);
  return id === '' || id === 'sessions' ? null : `${sessions.pathname}/${id}`;
}
