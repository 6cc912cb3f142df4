import type { Owner } from './devices.js';
import { type Answer, send, type Sent } from './http.js';

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

/** Opens a live view of the owner's device, as a script on its page would. */
export function openLiveView(origin: string, owner: Owner, more: Sent = {}): Promise<Answer> {
  const headers = { 'content-type': 'application/sdp', 'x-csrf-token': owner.csrfToken, ...more.headers };
  return send(origin, `${owner.path}/live-views`, {
    method: 'POST',
    body: OFFER,
    cookie: owner.visitor.cookie,
    ...more,
    headers,
  });
}

/** @param location from the answer to the opening */
export function closeLiveView(origin: string, owner: Owner, location: string | null): Promise<Answer> {
  const headers = { 'x-csrf-token': owner.csrfToken };
  return send(origin, location ?? '', { method: 'DELETE', cookie: owner.visitor.cookie, headers });
}
