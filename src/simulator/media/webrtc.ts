import { setTimeout as sleep } from 'node:timers/promises';

import type { RTCRtpSender } from 'werift';
import { RTCPeerConnection, RtpHeader, RtpPacket, useOPUS, useVP8 } from 'werift';

import { FRAME_MS, testPicture } from './test-picture.js';

/** Of VP8 in RTP. */
const TICKS_PER_MS = 90;

const SEQUENCE_NUMBERS = 0x1_0000;

/** Fits into the datagrams of any network, with what RTP, UDP and IP put before it. */
const MOST_PAYLOAD_BYTES = 1_100;

/** What RTP packets carry, for each frame. */
const LOOP = testPicture().map(payloadsOf);

/** The device's end of a live view. */
export interface Peer {
  /** SDP with all candidates: WHEP answers once. */
  answer: string;
  /** Sends the test picture, over and over, to whoever has connected; then closes the connection. */
  play(isWatched: () => boolean, signal: AbortSignal): Promise<void>;
}

/**
 * Answers an offer with a connection on which the test picture can be played. It is VP8, which every browser knows and
 * which is easily put into packets, where Ring's devices send H.264. Audio is answered as by a device, and stays silent.
 *
 * @throws whatever werift makes of an offer that it can't read
 */
export async function openPeer(offer: string): Promise<Peer> {
  const connection = new RTCPeerConnection({
    // The viewer looks for a way to us, and we answer where we are asked. Else, werift would ask Google's STUN server
    // for our address, even with no server given.
    iceLite: true,
    iceServers: [],
    // Beside the addresses of this machine in its networks, which are found anyway.
    iceAdditionalHostAddresses: ['127.0.0.1'],
    bundlePolicy: 'max-bundle',
    codecs: { video: [useVP8()], audio: [useOPUS()] },
  });
  try {
    await connection.setRemoteDescription({ type: 'offer', sdp: withoutCandidates(offer) });
    const transceivers = connection.getTransceivers();
    for (const transceiver of transceivers) transceiver.setDirection('sendonly');
    const { sdp } = await connection.createAnswer();
    // The viewer is to begin the DTLS handshake. Werift would, and go on trying for half a minute when nobody is there.
    await connection.setLocalDescription({ type: 'answer', sdp: sdp.replaceAll('a=setup:active', 'a=setup:passive') });

    const video = transceivers.find(({ kind }) => kind === 'video');
    const answer = connection.localDescription?.sdp;
    if (video === undefined || answer === undefined) throw new Error('The offer has no video.');
    return { answer, play: (isWatched, signal) => play(connection, video.sender, isWatched, signal) };
  } catch (error) {
    await connection.close();
    throw error;
  }
}

async function play(
  connection: RTCPeerConnection,
  sender: RTCRtpSender,
  isWatched: () => boolean,
  signal: AbortSignal,
): Promise<void> {
  let frames = 0;
  let packets = 0;
  try {
    while (isWatched()) {
      // The first frame is the key to those that follow. A viewer who has lost one asks for another key frame, which is
      // never far: the loop is short.
      if (connection.connectionState === 'connected') {
        const payloads = LOOP[frames++ % LOOP.length] ?? [];
        const timestamp = (performance.now() * TICKS_PER_MS) >>> 0;
        for (const payload of payloads) {
          const sequenceNumber = packets++ % SEQUENCE_NUMBERS;
          const header = new RtpHeader({ sequenceNumber, timestamp, marker: payload === payloads.at(-1) });
          await sender.sendRtp(new RtpPacket(header, payload));
        }
      }
      await sleep(FRAME_MS, undefined, { signal });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await connection.close();
  }
}

/** Parts of the frame, each behind the byte that describes it: whether the frame begins here (RFC 7741, 4.2). */
function payloadsOf(frame: Buffer): Buffer[] {
  return Array.from({ length: Math.ceil(frame.length / MOST_PAYLOAD_BYTES) }, (_, index) => {
    const start = index * MOST_PAYLOAD_BYTES;
    return Buffer.concat([Buffer.of(index === 0 ? 0x10 : 0), frame.subarray(start, start + MOST_PAYLOAD_BYTES)]);
  });
}

/** Without the viewer's addresses: we don't go looking for them, but werift would resolve their names by multicast. */
function withoutCandidates(offer: string): string {
  return offer.replace(/^a=(?:candidate:|end-of-candidates).*\r?\n/gm, '');
}
