import { types } from 'node:util';
import { z } from 'zod';
import type { Endpoint } from './endpoints.js';
import { RingError, type RingErrorKind } from './errors.js';

/** One call to Ring: its name for logs and metrics, and the request. */
export interface Call extends Omit<RequestInit, 'headers'> {
  name: Endpoint;
  url: string;
  headers?: Record<string, string>;
  /** The largest answer that is read, in bytes; larger ones are `malformed`. 64 KiB unless given. */
  maxBytes?: number;
}

export interface Answer {
  status: number;
  headers: Headers;
  /** Undefined when it was larger than allowed. */
  body: Buffer | undefined;
}

export interface Transport {
  /**
   * Makes a call and reads its answer, which may be a redirect or an error.
   *
   * @throws {RingError} when there is no answer, and when `read` throws one
   */
  exchange<Value>(call: Call, read: (answer: Answer) => Value): Promise<Value>;
  /** As `exchange`, but only a 2xx is read. @throws {RingError} */
  succeed<Value>(call: Call, read: (answer: Answer) => Value): Promise<Value>;
  /** As `succeed`, for an answer in JSON. @throws {RingError} */
  json<Value>(call: Call, schema: z.ZodType<Value>): Promise<Value>;
  /**
   * Makes a call whose answer is too large to be held. The time limit is for its beginning, and then for each pause.
   *
   * @param signal ends the call and its answer
   * @param readOther reads an answer that is no 2xx
   * @throws {RingError} when there is no answer, and when `readOther` throws one. Reading the body throws when it breaks off
   */
  stream<Other>(call: Call, signal: AbortSignal, readOther: (answer: Answer) => Other): Promise<StreamedAnswer | Other>;
}

export interface StreamedAnswer {
  status: number;
  headers: Headers;
  body: AsyncIterable<Uint8Array>;
}

export interface TransportOptions {
  fetch?: typeof fetch;
  /** The limit for one whole call, answer included, in ms. */
  timeoutMs?: number;
  /** Called when a call has ended. */
  onCall?: (report: CallReport) => void;
}

export interface CallReport {
  endpoint: Endpoint;
  /** Ring's HTTP status, or why there is none. `malformed`: the status was below 400, and the answer could not be read. */
  result: number | 'unreachable' | 'no-answer' | 'malformed';
  durationMs: number;
  /** Our limit of requests a second, if Ring's answer told it. */
  rateLimit: { limit: number | undefined; remaining: number | undefined };
}

const DEFAULT_TIMEOUT_MS = 8_000;
const DEFAULT_MAX_BYTES = 64 * 1024;

const Word = z.string().optional().catch(undefined);

/** Ring's two error bodies: RFC 6749, and JSON:API with a `title` or, for media, a `code`. */
const ErrorAnswer = z.union([
  z.object({ error: z.string() }).transform(({ error }) => [error]),
  z
    .object({ errors: z.array(z.object({ title: Word, code: Word })).min(1) })
    .transform(({ errors: [first] }) => [first?.title, first?.code].filter((word) => word !== undefined)),
]);

/** Ring's codes for media. */
const MEDIA_CODES = new Set([
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
]);

/** The error codes of RFC 6749 and of Ring. Others are not repeated, because codes go into logs and tables. */
const KNOWN_CODES = new Set([
  ...MEDIA_CODES,
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
  'Invalid Nonce',
  'Missing Required Fields',
  'Invalid Status Transition',
  'Invalid Client',
  'Out of Scope Access',
  'Device Unavailable',
]);

const NEVER_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** Gives every call a time limit, a size limit, no automatic redirects, and errors that say what can be done. */
export function createTransport(options: TransportOptions): Transport {
  const send = options.fetch ?? fetch;
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;

  function report(endpoint: Endpoint, result: CallReport['result'], startedAt: number, headers?: Headers): void {
    options.onCall?.({
      endpoint,
      result,
      durationMs: performance.now() - startedAt,
      rateLimit: { limit: count(headers, 'x-ratelimit-limit'), remaining: count(headers, 'x-ratelimit-remaining') },
    });
  }

  async function exchange<Value>(call: Call, read: (answer: Answer) => Value): Promise<Value> {
    const startedAt = performance.now();
    const answer = await fetchAnswer(call, startedAt);
    let { status: result }: { status: CallReport['result'] } = answer;
    try {
      return read(answer);
    } catch (error) {
      if (answer.status < 400 && error instanceof RingError && error.kind === 'malformed') result = 'malformed';
      throw error;
    } finally {
      report(call.name, result, startedAt, answer.headers);
    }
  }

  async function fetchAnswer(
    { name, url, maxBytes = DEFAULT_MAX_BYTES, ...init }: Call,
    startedAt: number,
  ): Promise<Answer> {
    try {
      // No automatic redirects: they would carry a bearer token to another host.
      const response = await send(url, { ...init, redirect: 'manual', signal: AbortSignal.timeout(timeoutMs) });
      const body = await readBody(response, maxBytes);
      return { status: response.status, headers: response.headers, body };
    } catch (cause) {
      const kind = kindWithoutAnswer(cause);
      report(name, kind, startedAt);
      throw new RingError(kind, name, { cause });
    }
  }

  async function stream<Other>(
    { name, url, maxBytes = DEFAULT_MAX_BYTES, ...init }: Call,
    signal: AbortSignal,
    readOther: (answer: Answer) => Other,
  ): Promise<StreamedAnswer | Other> {
    const startedAt = performance.now();
    const silence = createSilenceLimit(timeoutMs);
    silence.begin();
    let response: Response;
    try {
      response = await send(url, { ...init, redirect: 'manual', signal: AbortSignal.any([signal, silence.signal]) });
    } catch (cause) {
      silence.end();
      const kind = kindWithoutAnswer(cause);
      // A call that its caller has ended tells nothing of Ring.
      if (!signal.aborted) report(name, kind, startedAt);
      throw new RingError(kind, name, { cause });
    }
    const { status, headers } = response;
    report(name, status, startedAt, headers);
    if (status >= 200 && status <= 299) return { status, headers, body: withoutSilence(response, silence) };
    const body = await readBody(response, maxBytes).catch(() => undefined);
    silence.end();
    return readOther({ status, headers, body });
  }

  function succeed<Value>(call: Call, read: (answer: Answer) => Value): Promise<Value> {
    return exchange(call, (answer) => {
      if (answer.status < 200 || answer.status > 299) throw failure(call.name, answer);
      return read(answer);
    });
  }

  return {
    exchange,
    succeed,
    stream,
    json: (call, schema) =>
      succeed(call, ({ status, body }) => {
        const parsed = schema.safeParse(parseJson(body));
        if (!parsed.success) throw new RingError('malformed', call.name, { status });
        return parsed.data;
      }),
  };
}

function kindWithoutAnswer(cause: unknown): 'unreachable' | 'no-answer' {
  return NEVER_SENT.has(networkCode(cause)) ? 'unreachable' : 'no-answer';
}

interface SilenceLimit {
  /** Aborts when a wait lasts too long. */
  signal: AbortSignal;
  begin(): void;
  end(): void;
}

function createSilenceLimit(limitMs: number): SilenceLimit {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  return {
    signal: controller.signal,
    begin() {
      timer = setTimeout(() => {
        controller.abort(new DOMException('Ring was silent for too long', 'TimeoutError'));
      }, limitMs);
    },
    end() {
      clearTimeout(timer);
    },
  };
}

/** The body's pieces. Silence counts while one is awaited, and not while the reader is busy with the one before. */
async function* withoutSilence(response: Response, silence: SilenceLimit): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of response.body ?? []) {
      silence.end();
      yield chunk as Uint8Array;
      silence.begin();
    }
  } finally {
    silence.end();
  }
}

async function readBody(response: Response, maxBytes: number): Promise<Buffer | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += (chunk as Uint8Array).length;
    // Leaving the loop cancels the download.
    if (size > maxBytes) return undefined;
    chunks.push(chunk as Uint8Array);
  }
  return Buffer.concat(chunks);
}

/** The JSON of a body, or undefined when it is none: then the schema refuses it. */
function parseJson(body: Buffer | undefined): unknown {
  try {
    return body && (JSON.parse(body.toString('utf8')) as unknown);
  } catch {
    return undefined;
  }
}

/** The number in a header; undefined when there is none. */
function count(headers: Headers | undefined, name: string): number | undefined {
  const header = headers?.get(name) ?? '';
  return /^\d{1,9}$/.test(header) ? Number(header) : undefined;
}

/** The error for an answer other than a 2xx. */
export function failure(name: Endpoint, { status, headers, body }: Answer): RingError {
  const parsed = ErrorAnswer.safeParse(parseJson(body));
  const code = parsed.success ? codeOf(parsed.data) : undefined;
  return new RingError(kindOf(status, parsed.success, code), name, {
    status,
    ...(code !== undefined && { code }),
    ...retryAfter(headers),
  });
}

/** The known one of an error's words; of an unknown one only its length, because it may quote anything. */
function codeOf(words: readonly string[]): string | undefined {
  const known = words.find((word) => KNOWN_CODES.has(word));
  if (known !== undefined || words[0] === undefined) return known;
  return `unknown code of ${words[0].length} characters`;
}

/**
 * @param isRings whether the body is one of Ring's errors, and not that of a proxy in between
 * @param code a 403 with a code of media is about the request, and any other about the token
 */
function kindOf(status: number, isRings: boolean, code: string | undefined): RingErrorKind {
  if (status === 403 && code !== undefined && MEDIA_CODES.has(code)) return 'rejected';
  if (status === 401 || (status === 403 && isRings)) return 'unauthorized';
  if (status === 429) return 'rate-limited';
  // Request Timeout and Too Early are about the moment, not about the request.
  if (status === 408 || status === 425) return 'unavailable';
  if (status >= 400 && status < 500) return isRings ? 'rejected' : 'malformed';
  return status >= 500 ? 'unavailable' : 'malformed';
}

/** Reads `Retry-After`: seconds, or a date relative to the `Date` header. RFC 9110, 10.2.3. */
function retryAfter(headers: Headers): { retryAfterSeconds?: number } {
  const header = headers.get('retry-after') ?? '';
  if (/^\d{1,9}$/.test(header)) return { retryAfterSeconds: Number(header) };
  const ms = parseHttpDate(header) - parseHttpDate(headers.get('date') ?? '');
  return ms >= 0 ? { retryAfterSeconds: Math.ceil(ms / 1_000) } : {};
}

/** Epoch ms, or NaN. One of the forms in RFC 9110, 5.6.7, ends with the year and names no zone: it is in UTC. */
function parseHttpDate(text: string): number {
  return Date.parse(/ \d{4}$/.test(text) ? `${text} GMT` : text);
}

/** The code of a failed fetch, by the system or undici, which is hidden in a chain of causes. */
function networkCode(error: unknown): string {
  for (let current = error; types.isNativeError(current); current = current.cause) {
    const { code } = current as NodeJS.ErrnoException;
    if (code !== undefined) return code;
  }
  return '';
}
