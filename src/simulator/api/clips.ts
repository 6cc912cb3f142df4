import { z } from 'zod';
import type { Simulation } from '../state/state.js';
import type { RingEndpoint } from './endpoint.js';
import { failMedia } from './media-errors.js';
import type { MediaReading } from './media-requests.js';
import { answerMediaRequest, badBody, recordOfMediaRequest } from './media-requests.js';

const LONGEST_CLIP_MS = 900_000;

const clipRequest = z.strictObject({
  timestamp: z.int(),
  duration: z.int().min(1).max(LONGEST_CLIP_MS),
  video_options: z
    .strictObject({
      codec: z.enum(['avc', 'hevc']).optional(),
      frame_rate: z.number().positive().max(25).optional(),
      resolution: z.strictObject({ width: z.int().min(1).max(1_920), height: z.int().min(1).max(1_080) }).optional(),
    })
    .optional(),
  audio_options: z.strictObject({ audio_enabled: z.boolean().optional() }).optional(),
});

/**
 * `POST /v1/devices/{device_id}/media/video/download`: a redirect to a clip, if one was recorded. The options are
 * checked, and every clip is the same small one in H.264 without sound.
 */
export function clipEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: 'clip',
    recordOf: (request) => recordOfMediaRequest(simulation, request),
    handle: (request) =>
      answerMediaRequest(simulation, request, simulation.state.settings.clipRedirect, readClipRequest),
    fail: failMedia(simulation, 'TIMESTAMP_NOT_FOUND'),
  };
}

/** Only the beginning of a clip must not be in the future: a clip of what is still being recorded may be asked for. */
export function readClipRequest(body: unknown): MediaReading {
  const parsed = clipRequest.safeParse(body);
  if (!parsed.success) return badBody(parsed.error);
  const { timestamp, duration } = parsed.data;
  return {
    kind: 'good',
    wanted: { kind: 'clip', timestamp, duration },
    times: [{ at: timestamp, pointer: '/timestamp' }],
  };
}
