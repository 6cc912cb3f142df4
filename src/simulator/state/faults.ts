import { z } from 'zod';

/** The endpoints of Ring that can be told to misbehave. */
export const RING_ENDPOINTS = [
  'token',
  'users-me',
  'integration-post',
  'integration-patch',
  'devices',
  'device',
  'device-resource',
  'history',
  'whep-post',
  'whep-delete',
  'image',
  'media',
  'clip',
  'clip-media',
  'subscriptions',
] as const;
export type RingEndpointName = (typeof RING_ENDPOINTS)[number];

/** The codes of media errors. */
export const MEDIA_ERROR_CODES = [
  'INVALID_PAYLOAD',
  'UNAUTHORIZED',
  'REQUEST_FORBIDDEN',
  'TIME_RANGE_NOT_AUTHORIZED',
  'DEVICE_NOT_FOUND',
  'MEDIA_NOT_FOUND',
  'TIMESTAMP_NOT_FOUND',
  'CORRUPT_RECORDING',
  'RECORDING_NOT_READY',
  'INTERNAL_ERROR',
  'SERVER_BUSY',
] as const;
export type MediaErrorCode = (typeof MEDIA_ERROR_CODES)[number];

/** Longer than the time-out of any client, and short enough for a timer. */
const MOST_DELAY_MS = 600_000;

/** Larger than any picture that an app would accept. */
const MOST_BODY_BYTES = 12_000_000;

const delay = z.strictObject({ kind: z.literal('delay'), ms: z.int().min(0).max(MOST_DELAY_MS) });
const status = z.int().min(200).max(599);
const contentType = z.string().regex(/^[\x20-\x7e]+$/);
const times = z.int().min(1).optional();

const answerFault = z.discriminatedUnion('kind', [
  delay,
  // A request is held until the list of faults is replaced.
  z.strictObject({ kind: z.literal('hold') }),
  z.strictObject({
    kind: z.literal('status'),
    status,
    retryAfterSeconds: z.int().min(0).optional(),
    /** The code of a media error; the usual one of the status unless given. Other endpoints have no codes. */
    code: z.enum(MEDIA_ERROR_CODES).optional(),
  }),
  z.strictObject({ kind: z.literal('reset') }),
  z.strictObject({ kind: z.literal('silence') }),
  z.strictObject({
    kind: z.literal('body'),
    status,
    contentType,
    body: z.string().max(1_000_000),
  }),
  z.strictObject({
    kind: z.literal('large-body'),
    status,
    contentType,
    sizeBytes: z.int().min(0).max(MOST_BODY_BYTES),
    /** Whether a `Content-Length` announces the size; true unless given. */
    announced: z.boolean().default(true),
  }),
]);

/**
 * A mistake of Ring's in an answer. `before`: Ring has done nothing yet. `after`: Ring has done what was asked, and
 * only the answer is late, lost or replaced, so that the caller can't know.
 */
const ringFault = z.strictObject({
  endpoint: z.enum(RING_ENDPOINTS),
  fault: answerFault,
  when: z.enum(['before', 'after']).default('before'),
  times,
});

/** A mistake of Ring's in sending the code: late (the browser is redirected at once), or twice at the same time. */
const callbackFault = z.strictObject({
  endpoint: z.literal('callback'),
  fault: z.discriminatedUnion('kind', [delay, z.strictObject({ kind: z.literal('twice') })]),
  when: z.literal('before').optional(),
  times,
});

export const faultSchema = z.discriminatedUnion('endpoint', [ringFault, callbackFault]);
export const faultsSchema = z.array(faultSchema).max(100);

export type AnswerFault = z.infer<typeof answerFault>;
export type RingFault = z.infer<typeof ringFault>;
export type CallbackFault = z.infer<typeof callbackFault>;
export type Fault = z.infer<typeof faultSchema>;

/** The faults that wait to happen, in order. A request meets one at most: the first for its endpoint. */
export class Faults {
  #waiting: Fault[] = [];
  #standing = new AbortController();

  /** Aborted when the list is replaced, which releases the requests of a `hold`. */
  get standing(): AbortSignal {
    return this.#standing.signal;
  }

  list(): readonly Fault[] {
    return this.#waiting;
  }

  replace(faults: readonly Fault[]): void {
    this.#waiting = [...faults];
    this.#standing.abort();
    this.#standing = new AbortController();
  }

  add(fault: Fault): void {
    this.#waiting.push(fault);
  }

  takeFor(endpoint: RingEndpointName): RingFault | undefined {
    const fault = this.#waiting.find((one): one is RingFault => one.endpoint === endpoint);
    if (fault !== undefined) this.#countDown(fault);
    return fault;
  }

  takeForCallback(): CallbackFault | undefined {
    const fault = this.#waiting.find((one) => one.endpoint === 'callback');
    if (fault !== undefined) this.#countDown(fault);
    return fault;
  }

  /** A fault without `times` stays until it is replaced. */
  #countDown(taken: Fault): void {
    const { times } = taken;
    if (times === undefined) return;
    this.#waiting = this.#waiting.flatMap((one) => {
      if (one !== taken) return [one];
      return times > 1 ? [{ ...one, times: times - 1 }] : [];
    });
  }
}
