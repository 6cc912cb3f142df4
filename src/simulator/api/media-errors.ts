import { randomUUID } from 'node:crypto';
import type { MediaErrorCode } from '../state/faults.js';
import type { Simulation } from '../state/state.js';
import type { RingAnswer } from './endpoint.js';
import { jsonApi } from './json-api.js';

/** The status of each code. */
const STATUS: Record<MediaErrorCode, number> = {
  INVALID_PAYLOAD: 400,
  UNAUTHORIZED: 401,
  REQUEST_FORBIDDEN: 403,
  TIME_RANGE_NOT_AUTHORIZED: 403,
  DEVICE_NOT_FOUND: 404,
  MEDIA_NOT_FOUND: 416,
  TIMESTAMP_NOT_FOUND: 416,
  CORRUPT_RECORDING: 422,
  RECORDING_NOT_READY: 425,
  INTERNAL_ERROR: 500,
  SERVER_BUSY: 503,
};

/** The usual code of each status. Where there are several, it is the one that doesn't need a reason. */
const USUAL_CODE: Partial<Record<number, MediaErrorCode>> = {
  400: 'INVALID_PAYLOAD',
  401: 'UNAUTHORIZED',
  403: 'REQUEST_FORBIDDEN',
  404: 'DEVICE_NOT_FOUND',
  422: 'CORRUPT_RECORDING',
  425: 'RECORDING_NOT_READY',
  503: 'SERVER_BUSY',
};

/** A request for media that Ring refuses. */
export interface MediaRefusal {
  code: MediaErrorCode;
  detail: string;
  /** The place of the mistake in the body. */
  pointer?: string;
}

/** The answer to a request for media that is refused. Such an error has a code, where all others have a title. */
export function refuseMedia({ now }: Simulation, refusal: MediaRefusal): RingAnswer {
  return mediaError(STATUS[refusal.code], refusal, now());
}

/** @param notRecorded the code of a 416 */
export function failMedia(
  { now }: Simulation,
  notRecorded: 'MEDIA_NOT_FOUND' | 'TIMESTAMP_NOT_FOUND',
): (status: number, code?: MediaErrorCode) => RingAnswer {
  return (status, code) => {
    const usual = status === 416 ? notRecorded : USUAL_CODE[status];
    const refusal = { code: code ?? usual ?? 'INTERNAL_ERROR', detail: 'A fault of the Ring simulator.' };
    return mediaError(status, refusal, now());
  };
}

function mediaError(status: number, { code, detail, pointer }: MediaRefusal, now: number): RingAnswer {
  const error = {
    id: randomUUID(),
    status: String(status),
    code,
    detail,
    ...(pointer !== undefined && { source: { pointer } }),
    meta: { timestamp: new Date(now).toISOString() },
  };
  return jsonApi(status, { errors: [error] });
}
