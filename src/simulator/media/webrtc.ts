import { setTimeout as sleep } from 'node:timers/promises';
import type { RTCRtpSender } from 'werift';
import { RTCPeerConnection, RtpHeader, RtpPacket, useOPUS, useVP8 } from 'werift';
import { FRAME_MS, testPicture } from './test-picture.js';

/** The clock rate of VP8 in RTP. */
const TICKS_PER_MS = 90;

const SEQUENCE_NUMBERS = 0x1_0000;

/** A payload of this size fits into the datagrams of any network, after the headers of RTP, UDP and IP. */
const MOST_PAYLOAD_BYTES = 1_100;

/** The RTP payloads of each frame. */
const LOOP = testPicture().map(payloadsOf);

/** The device's end of a live view. */
export interface Peer {
  /** SDP with all candidates, because WHEP has one answer only. */
  answer: string;
  /** Sends the test picture over and over while the viewer is connected, then closes the connection. */
  play(isWatched: () => boolean, signal: AbortSignal): Promise<void>;
}

/**
 * Answers an offer with a connection on which the test picture can be played. It is VP8, where Ring's devices send
 * H.264: every browser knows VP8, and it is easily put into packets. Audio is answered as by a device, and stays
 * silent.
 *
 * @throws what werift throws for an offer that it can't read
 */
export async function openPeer(offer: string): Promise<Peer> {
  const connection = new RTCPeerConnection({
    // The viewer looks for a way to us, and we answer at the address that it asks. Without this, werift asks Google's
    // STUN server for our address, although no server is configured.
    iceLite: true,
    iceServers: [],
    // An address beside those of this machine's networks, which werift finds by itself.
    iceAdditionalHostAddresses: ['127.0.0.1'],
    bundlePolicy: 'max-bundle',
    codecs: { video: [useVP8()], audio: [useOPUS()] },
  });
  try {
    await connection.setRemoteDescription({ type: 'offer', sdp: withoutCandidates(offer) });
    const transceivers = connection.getTransceivers();
    for (const transceiver of transceivers) transceiver.setDirection('sendonly');
    const { sdp } = await connection.createAnswer();
    // The viewer starts the DTLS handshake. Werift would start it too, and try for half a minute when the viewer is
    // gone.
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
      // The frames that follow depend on the first. A viewer who has lost one needs another key frame, which is never
      // far: the loop is short.
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

/** The parts of a frame, each after the byte that says whether the frame starts here (RFC 7741, 4.2). */
function payloadsOf(frame: Buffer): Buffer[] {
  return Array.from({ length: Math.ceil(frame.length / MOST_PAYLOAD_BYTES) }, (_, index) => {
    const start = index * MOST_PAYLOAD_BYTES;
    return Buffer.concat([Buffer.of(index === 0 ? 0x10 : 0), frame.subarray(start, start + MOST_PAYLOAD_BYTES)]);
  });
}

/**
 * The offer without the viewer's addresses. We don't contact them, and werift would resolve their names by multicast.
 */
function withoutCandidates(offer: string): string {
  return offer.replace(/^a=(?:candidate:|end-of-candidates).*\r?\n/gm, '');
}
