import { types } from 'node:util';
import { z } from 'zod';
import { RingError, type RingErrorKind } from './errors.js';

export interface TokenGrant {
  accessToken: string;
  refreshToken: string;
  scope: string;
  /** Lifetime of the access token in seconds. */
  expiresIn: number;
}

export interface RingClientOptions {
  oauthUrl: string;
  apiUrl: string;
  clientId: string;
  clientSecret: string;
  fetch?: typeof fetch;
  /** Limit for one whole call, answer included, in ms. */
  timeoutMs?: number;
}

/**
 * The calls that account linking makes. Nothing is retried here: what may be sent again depends on what the caller
 * knows. Every method throws a {@link RingError} and nothing else.
 *
 * @see https://developer.amazon.com/docs/ring/app-integrations.html
 */
export interface RingClient {
  /** Exchanges an authorization code, which works once and lives 60 s. */
  exchangeCode(code: string): Promise<TokenGrant>;
  /** The account ID behind an access token. */
  getAccountId(accessToken: string): Promise<string>;
  /** Tells Ring that the nonce was matched: the integration becomes `awaiting`. */
  announceLink(accessToken: string, link: { accountIdentifier: string; nonce: string }): Promise<void>;
  /** Tells Ring that the link stands: the integration becomes `completed`. */
  completeLink(accessToken: string, link: { accountIdentifier: string }): Promise<void>;
}

const DEFAULT_TIMEOUT_MS = 8_000;
/** Every answer of these calls is a few hundred bytes; one that is larger is not one of them. */
const MAX_BODY_BYTES = 64 * 1024;

/** Text that may end up in a header, an index and a log: visible ASCII. */
const opaque = (maximum: number) =>
  z
    .string()
    .regex(/^[\x21-\x7e]+$/)
    .max(maximum);

const TokenAnswer = z.object({
  access_token: opaque(8_192),
  refresh_token: opaque(8_192),
  scope: z.string().max(1_024).default(''),
  expires_in: z.number().int().min(1).max(31_536_000),
  token_type: z.string().regex(/^bearer$/i),
});

const UserAnswer = z.object({ data: z.object({ type: z.literal('users'), id: opaque(512) }) });

const IntegrationStatus = z.object({ status: z.string() });
/** Ring's own pages disagree on the shape of this answer: flat, or JSON:API. */
const IntegrationAnswer = z.union([
  IntegrationStatus,
  z.object({ data: z.object({ attributes: IntegrationStatus }) }).transform(({ data }) => data.attributes),
]);

/** Ring's two error bodies: RFC 6749 and JSON:API. */
const ErrorAnswer = z.union([
  z.object({ error: z.string() }).transform(({ error }) => error),
  z
    .object({ errors: z.array(z.object({ title: z.string() })).min(1) })
    .transform(({ errors }) => errors[0]?.title ?? ''),
]);

/** RFC 6749's and Ring's own. Whatever else stands there is not repeated: it goes into logs and tables. */
const KNOWN_CODES = new Set([
  'invalid_request',
  'invalid_client',
  'invalid_grant',
  'unauthorized_client',
  'unsupported_grant_type',
  'invalid_scope',
  'Invalid Nonce',
  'Missing Required Fields',
  'Invalid Status Transition',
]);

const NEVER_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

const INTEGRATION_PATH = '/v1/accounts/me/app-integrations';

export function createRingClient(options: RingClientOptions): RingClient {
  const send = options.fetch ?? fetch;
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;

  async function call<Answer>(
    name: string,
    url: string,
    init: RequestInit,
    schema: z.ZodType<Answer>,
  ): Promise<Answer> {
    const { response, body } = await answerOf(name, () =>
      // A redirect is never part of these calls; following one would carry a bearer token to wherever it points.
      send(url, { ...init, redirect: 'manual', signal: AbortSignal.timeout(timeoutMs) }),
    );
    if (!response.ok) throw failure(name, response, body);
    const parsed = schema.safeParse(body);
    if (!parsed.success) throw new RingError('malformed', name, { status: response.status });
    return parsed.data;
  }

  function callApi<Answer>(
    method: 'GET' | 'POST' | 'PATCH',
    path: string,
    accessToken: string,
    schema: z.ZodType<Answer>,
    body?: object,
  ): Promise<Answer> {
    const headers: Record<string, string> = { authorization: `Bearer ${accessToken}`, accept: 'application/json' };
    if (body !== undefined) headers['content-type'] = 'application/json';
    const init = { method, headers, ...(body && { body: JSON.stringify(body) }) };
    return call(`${method} ${path}`, `${options.apiUrl}${path}`, init, schema);
  }

  async function changeIntegration(
    method: 'POST' | 'PATCH',
    accessToken: string,
    body: object,
    expected: 'awaiting' | 'completed',
  ): Promise<void> {
    const { status } = await callApi(method, INTEGRATION_PATH, accessToken, IntegrationAnswer, body);
    if (status !== expected) throw new RingError('malformed', `${method} ${INTEGRATION_PATH}`, { status: 200 });
  }

  return {
    async exchangeCode(code) {
      const body = new URLSearchParams({
        grant_type: 'authorization_code',
        code,
        client_id: options.clientId,
        client_secret: options.clientSecret,
      });
      const init = { method: 'POST', body, headers: { accept: 'application/json' } };
      const answer = await call('POST /oauth/token', `${options.oauthUrl}/oauth/token`, init, TokenAnswer);
      return {
        accessToken: answer.access_token,
        refreshToken: answer.refresh_token,
        scope: answer.scope,
        expiresIn: answer.expires_in,
      };
    },

    async getAccountId(accessToken) {
      const { data } = await callApi('GET', '/v1/users/me', accessToken, UserAnswer);
      return data.id;
    },

    announceLink: (accessToken, { accountIdentifier, nonce }) =>
      changeIntegration('POST', accessToken, { account_identifier: accountIdentifier, nonce }, 'awaiting'),

    completeLink: (accessToken, { accountIdentifier }) =>
      changeIntegration(
        'PATCH',
        accessToken,
        { account_identifier: accountIdentifier, status: 'completed' },
        'completed',
      ),
  };
}

async function answerOf(name: string, send: () => Promise<Response>): Promise<{ response: Response; body: unknown }> {
  try {
    const response = await send();
    return { response, body: await readJson(response) };
  } catch (cause) {
    throw new RingError(NEVER_SENT.has(networkCode(cause)) ? 'unreachable' : 'no-answer', name, { cause });
  }
}

/** The body as JSON, or undefined when it is none; what a wrong body means is for the schema to say. */
async function readJson(response: Response): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += (chunk as Uint8Array).length;
    // Leaving the loop cancels the download.
    if (size > MAX_BODY_BYTES) return undefined;
    chunks.push(chunk as Uint8Array);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}

function failure(name: string, response: Response, body: unknown): RingError {
  const parsed = ErrorAnswer.safeParse(body);
  const details = {
    status: response.status,
    ...(parsed.success && KNOWN_CODES.has(parsed.data) && { code: parsed.data }),
    ...retryAfter(response),
  };
  return new RingError(kindOf(response.status, parsed.success), name, details);
}

/** @param isRings whether the body is an error of Ring's, and not of something in between */
function kindOf(status: number, isRings: boolean): RingErrorKind {
  if (status === 401 || (status === 403 && isRings)) return 'unauthorized';
  if (status === 429) return 'rate-limited';
  // Request Timeout and Too Early are about the moment, not about the request.
  if (status === 408 || status === 425) return 'unavailable';
  if (status >= 400 && status < 500) return isRings ? 'rejected' : 'malformed';
  return status >= 500 ? 'unavailable' : 'malformed';
}

function retryAfter(response: Response): { retryAfterSeconds?: number } {
  const header = response.headers.get('retry-after') ?? '';
  return /^\d{1,5}$/.test(header) ? { retryAfterSeconds: Number(header) } : {};
}

/** The system's or undici's code of a failed fetch, which hides it in a chain of causes. */
function networkCode(error: unknown): string {
  for (let current = error; types.isNativeError(current); current = current.cause) {
    const { code } = current as NodeJS.ErrnoException;
    if (code !== undefined) return code;
  }
  return '';
}
