import { z } from 'zod';
import type { ImageFormat, Wanted } from '../state/signed-downloads.js';
import { IMAGE_FORMATS } from '../state/signed-downloads.js';
import type { Simulation } from '../state/state.js';
import type { RingEndpoint } from './endpoint.js';
import { failMedia } from './media-errors.js';
import type { MediaReading } from './media-requests.js';
import { answerMediaRequest, badBody, recordOfMediaRequest } from './media-requests.js';

const LONGEST_WINDOW_MS = 24 * 60 * 60 * 1_000;

const imageOptions = z
  .strictObject({
    format: z.enum(IMAGE_FORMATS).optional(),
    resolution: z.strictObject({ width: z.int().min(1).max(1_920), height: z.int().min(1).max(1_080) }).optional(),
  })
  .optional();

const imageRequest = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('at_timestamp'), timestamp: z.int(), image_options: imageOptions }),
  z.strictObject({
    type: z.literal('latest_in_range'),
    start_timestamp: z.int(),
    end_timestamp: z.int().optional(),
    image_options: imageOptions,
  }),
]);

/** `POST /v1/devices/{device_id}/media/image/download`: a redirect to a picture, if one was recorded. */
export function imageEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: 'image',
    recordOf: (request) => recordOfMediaRequest(simulation, request),
    handle: (request) =>
      answerMediaRequest(simulation, request, 303, (body, now) =>
        readImageRequest(body, now, simulation.state.settings.defaultImageFormat),
      ),
    fail: failMedia(simulation, 'MEDIA_NOT_FOUND'),
  };
}

export function readImageRequest(body: unknown, now: number, usualFormat: ImageFormat): MediaReading {
  const parsed = imageRequest.safeParse(body);
  if (!parsed.success) return badBody(parsed.error);
  const asked = parsed.data;
  const wanted = {
    kind: 'image' as const,
    format: asked.image_options?.format ?? usualFormat,
    resolution: asked.image_options?.resolution,
  };
  if (asked.type === 'at_timestamp') {
    const { timestamp } = asked;
    return good({ ...wanted, which: 'at', timestamp }, [{ at: timestamp, pointer: '/timestamp' }]);
  }
  const { start_timestamp: start, end_timestamp: end = now } = asked;
  if (start > end || end - start > LONGEST_WINDOW_MS) {
    const detail = 'The window has to begin before it ends, and to be at most 24 h long.';
    return { kind: 'bad', code: 'INVALID_PAYLOAD', detail, pointer: '/start_timestamp' };
  }
  return good({ ...wanted, which: 'latest', within: { start, end } }, [
    { at: start, pointer: '/start_timestamp' },
    { at: end, pointer: '/end_timestamp' },
  ]);
}

function good(wanted: Wanted, times: { at: number; pointer: string }[]): MediaReading {
  return { kind: 'good', wanted, times };
}
