import { createHash, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import type { Simulation } from '../state/state.js';
import type { TokenPair } from '../state/tokens.js';
import { ACCESS_TOKEN_LIFETIME_S } from '../state/tokens.js';
import type { RingAnswer, RingEndpoint, RingRequest } from './endpoint.js';

const GRANT_TYPES = ['authorization_code', 'refresh_token'] as const;

/** RFC 6749, section 5.2. */
type OAuthError = 'invalid_request' | 'invalid_client' | 'invalid_grant' | 'unsupported_grant_type';

/** The fields that Ring reads, each once at most. RFC 6749, section 3.2: a field without a value counts as omitted. */
const tokenForm = z.object({
  grant_type: z.string().optional(),
  code: z.string().optional(),
  refresh_token: z.string().optional(),
  client_id: z.string().optional(),
  client_secret: z.string().optional(),
});
type TokenForm = z.infer<typeof tokenForm>;

/** `POST /oauth/token`: form-encoded only, client credentials in the form, errors of RFC 6749. */
export function tokenEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: 'token',
    recordOf: (request) => recordOf(simulation, request),
    handle: (request) => answerTokenRequest(simulation, request),
    fail: (status) => ({
      status,
      headers: { 'Content-Type': 'text/plain; charset=utf-8' },
      body: 'A fault of the Ring simulator.',
    }),
  };
}

function recordOf(simulation: Simulation, request: RingRequest): ReturnType<RingEndpoint['recordOf']> {
  const form = readForm(request);
  const secret = form?.code ?? form?.refresh_token;
  return {
    account_id: secret === undefined ? null : simulation.state.tokens.accountOf(secret),
    // Only a known value is recorded: a secret in the wrong field must not get into the record.
    facts: { grant_type: GRANT_TYPES.find((known) => known === form?.grant_type) },
  };
}

function answerTokenRequest(simulation: Simulation, request: RingRequest): RingAnswer {
  if (request.authorization !== undefined) {
    return withChallenge(refuse(401, 'invalid_client', 'Credentials and refresh tokens belong in the form.'));
  }
  const form = readForm(request);
  if (form === undefined) {
    return refuse(400, 'invalid_request', 'Send a form (application/x-www-form-urlencoded) with each field once.');
  }
  if (!isOurClient(simulation, form)) return refuse(401, 'invalid_client', 'Wrong client_id or client_secret.');
  return exchange(simulation, form);
}

function exchange(simulation: Simulation, form: TokenForm): RingAnswer {
  const { tokens } = simulation.state;
  switch (form.grant_type) {
    case 'authorization_code':
      if (form.code === undefined) return refuse(400, 'invalid_request', 'code is missing.');
      return grant(tokens.redeemCode(form.code), 'The code is unknown, used, revoked or older than 60 seconds.');
    case 'refresh_token':
      if (form.refresh_token === undefined) return refuse(400, 'invalid_request', 'refresh_token is missing.');
      return grant(refresh(simulation, form.refresh_token), 'The token is unknown, replaced, revoked or too old.');
    case undefined:
      return refuse(400, 'invalid_request', 'grant_type is missing.');
    default:
      return refuse(400, 'unsupported_grant_type', `Known: ${GRANT_TYPES.join(', ')}.`);
  }
}

function refresh({ state: { tokens, settings } }: Simulation, refreshToken: string): Partial<TokenPair> | undefined {
  switch (settings.refreshAnswer) {
    case 'new-pair':
      return tokens.redeemRefreshToken(refreshToken);
    case 'without-refresh-token': {
      const access_token = tokens.renewAccessToken(refreshToken);
      return access_token === undefined ? undefined : { access_token };
    }
  }
}

/** Undefined if the body is no form, or has a field more than once. */
function readForm(request: RingRequest): TokenForm | undefined {
  if (request.contentType !== 'application/x-www-form-urlencoded') return undefined;
  const fields = [...new URLSearchParams(request.body)];
  if (new Set(fields.map(([name]) => name)).size < fields.length) return undefined;
  return tokenForm.parse(Object.fromEntries(fields.filter(([, value]) => value !== '')));
}

function isOurClient(simulation: Simulation, form: TokenForm): boolean {
  const { clientId, clientSecret } = simulation.app;
  const isId = isSame(form.client_id ?? '', clientId);
  const isSecret = isSame(form.client_secret ?? '', clientSecret);
  return isId && isSecret;
}

function isSame(given: string, expected: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(expected));
}

function grant(pair: Partial<TokenPair> | undefined, refusal: string): RingAnswer {
  if (pair === undefined) return refuse(400, 'invalid_grant', refusal);
  return oauthAnswer(200, {
    ...pair,
    scope: 'simulated',
    expires_in: ACCESS_TOKEN_LIFETIME_S,
    token_type: 'Bearer',
  });
}

function refuse(status: number, error: OAuthError, error_description: string): RingAnswer {
  return oauthAnswer(status, { error, error_description });
}

/** RFC 6749, section 5.2: a client that used the Authorization header is answered with a challenge for that scheme. */
function withChallenge(answer: RingAnswer): RingAnswer {
  return { ...answer, headers: { ...answer.headers, 'WWW-Authenticate': 'Basic realm="Ring simulator"' } };
}

function oauthAnswer(status: number, body: Record<string, string | number>): RingAnswer {
  return {
    status,
    headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-store', Pragma: 'no-cache' },
    body: JSON.stringify(body),
  };
}
