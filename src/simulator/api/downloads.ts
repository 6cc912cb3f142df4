import { clipOf } from '../media/clips.js';
import { encryptedMediaOf, pictureOf } from '../media/pictures.js';
import type { Frame, Recording } from '../state/recordings.js';
import { firstWithin, frameAt, newestFrame } from '../state/recordings.js';
import type { Download, Wanted } from '../state/signed-downloads.js';
import { isFresh } from '../state/signed-downloads.js';
import type { Simulation } from '../state/state.js';
import type { RingAnswer, RingEndpoint, RingRequest } from './endpoint.js';
import type { MediaRefusal } from './media-errors.js';
import { failMedia, refuseMedia } from './media-errors.js';

type Image = Extract<Wanted, { kind: 'image' }>;
type Clip = Extract<Wanted, { kind: 'clip' }>;

/**
 * `GET /v1/download` on the media host, which Ring redirects to. The token in the URL is the only credential that it
 * accepts. Whether anything was recorded shows here.
 *
 * @param name `clip-media` for the URLs of clips, `media` for all others
 */
export function downloadEndpoint(simulation: Simulation, name: 'media' | 'clip-media'): RingEndpoint {
  return {
    name,
    recordOf: (request) => {
      const download = downloadOf(simulation, request);
      return {
        account_id: download?.account_id ?? null,
        facts: {
          device_id: download?.device.id,
          authorization: request.authorization === undefined ? 'absent' : 'present',
        },
      };
    },
    handle: (request) => answerDownload(simulation, request),
    fail: failMedia(simulation, name === 'media' ? 'MEDIA_NOT_FOUND' : 'TIMESTAMP_NOT_FOUND'),
  };
}

/** True for the URL of a clip, of any age. */
export function isOfClip({ state }: Simulation, securityToken: string): boolean {
  return state.downloads.find(securityToken)?.wanted.kind === 'clip';
}

function downloadOf({ state }: Simulation, { query }: RingRequest): Download | undefined {
  return state.downloads.find(query.get('security_token'));
}

function answerDownload(simulation: Simulation, request: RingRequest): RingAnswer {
  const refuse = (refusal: MediaRefusal): RingAnswer => refuseMedia(simulation, refusal);
  if (request.authorization !== undefined) {
    return refuse({ code: 'INVALID_PAYLOAD', detail: 'Only one way to authorize: the URL or the header.' });
  }
  const now = simulation.now();
  const download = downloadOf(simulation, request);
  if (download === undefined || !isFresh(download, now)) {
    return refuse({ code: 'REQUEST_FORBIDDEN', detail: 'The security token is unknown or older than 60 seconds.' });
  }
  const { account_id, device, wanted } = download;
  const recordings = simulation.state.recordings.of(account_id, device.id);
  if (wanted.kind === 'image') {
    const frame = frameOf(recordings, wanted, now);
    if (frame === undefined) return refuse({ code: 'MEDIA_NOT_FOUND', detail: 'Nothing was recorded in that time.' });
    const problem = problemOf(frame.recording, frame.recording.ready_at, now);
    return problem === undefined ? imageAnswer(download, wanted, frame) : refuse(problem);
  }
  const recording = firstWithin(recordings, { start: wanted.timestamp, end: wanted.timestamp + wanted.duration });
  if (recording === undefined) return refuse({ code: 'TIMESTAMP_NOT_FOUND', detail: 'Nothing was recorded then.' });
  const problem = problemOf(recording, Math.max(recording.ready_at, recording.end), now);
  if (problem !== undefined) return refuse(problem);
  return clipAnswer(download, wanted, recording, simulation.state.settings.clipMinBytes, request.range);
}

function frameOf(recordings: readonly Recording[], wanted: Image, now: number): Frame | undefined {
  return wanted.which === 'at' ? frameAt(recordings, wanted.timestamp, now) : newestFrame(recordings, wanted.within);
}

function problemOf({ condition }: Recording, readyAt: number, now: number): MediaRefusal | undefined {
  if (now < readyAt) return { code: 'RECORDING_NOT_READY', detail: 'Try again within a minute.' };
  if (condition === 'corrupt') return { code: 'CORRUPT_RECORDING', detail: 'The recording can not be read.' };
  return undefined;
}

function imageAnswer({ device }: Download, { format, resolution }: Image, { recording, at }: Frame): RingAnswer {
  const frame = `${recording.id} ${at}`;
  const isEncrypted = device.encryption === 'account';
  const bytes = isEncrypted ? encryptedMediaOf(frame) : pictureOf(frame, format, resolution);
  return {
    status: 200,
    headers: {
      'Content-Type': `image/${format}`,
      'Content-Length': String(bytes.length),
      'Cache-Control': 'no-store',
      'X-Media-Timestamp': String(at),
      'X-Media-Origin': recording.kind === 'snapshot' ? 'snapshot' : 'recording',
    },
    body: bytes,
  };
}

function clipAnswer(
  { device }: Download,
  { timestamp, duration }: Clip,
  recording: Recording,
  minBytes: number,
  range: string | undefined,
): RingAnswer {
  const start = Math.max(timestamp, recording.start);
  const length = Math.min(timestamp + duration, recording.end) - start;
  const isPart = length < duration;
  const isEncrypted = device.encryption === 'account';
  const bytes = isEncrypted ? encryptedMediaOf(recording.id) : clipOf(length, minBytes);
  const answer = {
    status: isPart ? 206 : 200,
    headers: {
      'Content-Type': 'video/mp4',
      'Content-Length': String(bytes.length),
      'Accept-Ranges': 'bytes',
      'Cache-Control': 'no-store',
      'X-Media-Timestamp': String(start),
      ...(isPart && { 'X-Media-Length': String(length) }),
    },
    body: bytes,
  };
  return range === undefined ? answer : inRange(answer, range);
}

/** The bytes that the `Range` header asks for (RFC 9110, section 14). A header with several ranges is ignored. */
function inRange(answer: RingAnswer & { body: Buffer }, range: string): RingAnswer {
  const size = answer.body.length;
  const [, from = '', to = ''] = /^bytes=(\d*)-(\d*)$/.exec(range) ?? [];
  if (from === '' && to === '') return answer;
  const first = from === '' ? Math.max(0, size - Number(to)) : Number(from);
  const last = from === '' || to === '' ? size - 1 : Math.min(Number(to), size - 1);
  if (first > last) {
    return { status: 416, headers: { 'Content-Range': `bytes */${size}` }, body: '' };
  }
  const headers = {
    ...answer.headers,
    'Content-Length': String(last - first + 1),
    'Content-Range': `bytes ${first}-${last}/${size}`,
  };
  return { status: 206, headers, body: answer.body.subarray(first, last + 1) };
}
