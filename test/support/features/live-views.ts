import { type Answer, send, type Sent } from '../clients/http.js';
import type { Owner } from './devices.js';

/** The SDP offer of a browser that wants to receive and send nothing. */
export const OFFER = [
  'v=0',
  'o=- 1 2 IN IP4 127.0.0.1',
  's=-',
  't=0 0',
  'm=video 9 UDP/TLS/RTP/SAVPF 102',
  'a=mid:0',
  'a=recvonly',
  'a=rtpmap:102 H264/90000',
  'a=candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host',
  '',
].join('\r\n');

type Viewer = Pick<Owner, 'path' | 'visitor' | 'csrfToken'>;

/** Opens a live view of the viewer's device, as a script on its page would. It is a call to Ring that a user waits for. */
export function openLiveView(origin: string, { path, visitor, csrfToken }: Viewer, more: Sent = {}): Promise<Answer> {
  const headers = { 'content-type': 'application/sdp', 'x-csrf-token': csrfToken, ...more.headers };
  const request = { method: 'POST', body: OFFER, cookie: visitor.cookie, ...more, headers };
  return send(origin, `${path}/live-views`, request);
}

/** @param location from the answer to the opening */
export function closeLiveView(
  origin: string,
  { visitor, csrfToken }: Viewer,
  location: string | null,
): Promise<Answer> {
  const headers = { 'x-csrf-token': csrfToken };
  return send(origin, location ?? '', { method: 'DELETE', cookie: visitor.cookie, headers });
}
