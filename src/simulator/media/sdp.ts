import { randomBytes, randomInt } from 'node:crypto';

const DIRECTIONS = ['recvonly', 'sendonly', 'sendrecv', 'inactive'] as const;
type Direction = (typeof DIRECTIONS)[number];

/** One `m=` line with the lines below it. */
interface Track {
  /** `audio`, `video` or another kind. */
  media: string;
  protocol: string;
  payloadTypes: string[];
  direction: Direction;
  /** The attribute lines, without `a=`. */
  attributes: string[];
}

export interface Offer {
  session: string[];
  tracks: Track[];
}

export type OfferReading = { kind: 'good'; offer: Offer } | { kind: 'bad'; problem: string };

/** The codecs that a Ring device prefers to send. */
const PREFERRED_CODECS = /^(?:H264|opus)\//i;

/**
 * Reads the offer of a viewer. It receives only, has to ask for video, and is sent when ICE gathering is complete. An
 * offer doesn't say whether it is: browsers write no `a=end-of-candidates`. But one from before the gathering has no
 * candidate at all, and such an offer is refused. One candidate is enough, because with BUNDLE only the first track may
 * have some.
 */
export function readOffer(text: string): OfferReading {
  const [session = [], ...sections] = splitAtTracks(text);
  if (session[0] !== 'v=0') return { kind: 'bad', problem: 'The body is no SDP.' };
  const offered = directionIn(session) ?? 'sendrecv';
  const tracks = sections.map((lines) => readTrack(lines, offered));
  if (!tracks.some(({ media }) => media === 'video')) return { kind: 'bad', problem: 'The offer has no video track.' };
  if (!tracks.every(({ direction }) => direction === 'recvonly')) {
    return { kind: 'bad', problem: 'Every track has to be recvonly.' };
  }
  if (!tracks.some(({ attributes }) => attributes.some((attribute) => attribute.startsWith('candidate:')))) {
    return { kind: 'bad', problem: 'The offer has no ICE candidate. Send it when gathering is complete.' };
  }
  return { kind: 'good', offer: { session, tracks } };
}

/**
 * True if the offer can become a real connection: it has what a connection needs, and accepts VP8, the codec that we
 * send.
 */
export function canBePlayed({ session, tracks }: Offer): boolean {
  const attributes = [
    ...session.map((line) => line.replace(/^a=/, '')),
    ...tracks.flatMap((track) => track.attributes),
  ];
  const hasAttribute = (name: string): boolean => attributes.some((attribute) => attribute.startsWith(`${name}:`));
  const isConnectable = ['ice-ufrag', 'ice-pwd', 'fingerprint'].every(hasAttribute);
  const videos = tracks.filter(({ media }) => media === 'video');
  return isConnectable && videos.some((video) => video.attributes.some((one) => /^rtpmap:\d+ VP8\//i.test(one)));
}

/** The answer that a device would give: the same tracks, one codec each, to be sent. Nothing listens at its address. */
export function answerOffer({ session, tracks }: Offer): string {
  const transport = [
    `a=ice-ufrag:${randomBytes(3).toString('hex')}`,
    `a=ice-pwd:${randomBytes(16).toString('hex')}`,
    `a=fingerprint:sha-256 ${fingerprint()}`,
    'a=setup:passive',
  ];
  const port = randomInt(49_152, 65_536);
  const lines = [
    'v=0',
    `o=- ${randomInt(1_000_000_000)} 2 IN IP4 127.0.0.1`,
    's=-',
    't=0 0',
    ...session.filter((line) => line.startsWith('a=group:BUNDLE')),
    'a=msid-semantic: WMS ring',
    ...tracks.flatMap((track) => answerTrack(track, transport, port)),
  ];
  return `${lines.join('\r\n')}\r\n`;
}

function answerTrack(track: Track, transport: string[], port: number): string[] {
  const payloadType = choosePayloadType(track);
  const codec = new RegExp(`^(?:rtpmap|fmtp|rtcp-fb):${payloadType} `);
  return [
    `m=${track.media} 9 ${track.protocol} ${payloadType}`,
    'c=IN IP4 0.0.0.0',
    'a=rtcp:9 IN IP4 0.0.0.0',
    ...transport,
    ...track.attributes.filter((attribute) => attribute.startsWith('mid:')).map((mid) => `a=${mid}`),
    'a=sendonly',
    `a=msid:ring ring-${track.media}`,
    'a=rtcp-mux',
    ...track.attributes.filter((attribute) => codec.test(attribute)).map((attribute) => `a=${attribute}`),
    `a=candidate:1 1 udp 2130706431 127.0.0.1 ${port} typ host`,
    'a=end-of-candidates',
  ];
}

function choosePayloadType({ payloadTypes, attributes }: Track): string {
  const preferred = payloadTypes.find((type) =>
    attributes.some((attribute) => {
      const prefix = `rtpmap:${type} `;
      return attribute.startsWith(prefix) && PREFERRED_CODECS.test(attribute.slice(prefix.length));
    }),
  );
  return preferred ?? payloadTypes[0] ?? '0';
}

function readTrack([first = '', ...lines]: string[], offered: Direction): Track {
  const [media = '', , protocol = '', ...payloadTypes] = first.slice('m='.length).split(' ');
  const attributes = lines.filter((line) => line.startsWith('a=')).map((line) => line.slice('a='.length));
  return {
    media,
    protocol,
    payloadTypes: payloadTypes.filter((type) => /^\d+$/.test(type)),
    direction: directionIn(lines) ?? offered,
    attributes,
  };
}

function directionIn(lines: string[]): Direction | undefined {
  return DIRECTIONS.find((direction) => lines.includes(`a=${direction}`));
}

/** The lines of the session first, then the lines of each track. */
function splitAtTracks(text: string): string[][] {
  const sections: string[][] = [[]];
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith('m=')) sections.push([]);
    sections.at(-1)?.push(line);
  }
  return sections;
}

function fingerprint(): string {
  const bytes = [...randomBytes(32)];
  return bytes.map((byte) => byte.toString(16).padStart(2, '0').toUpperCase()).join(':');
}
