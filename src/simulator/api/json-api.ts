import type { RequestFacts } from '../state/request-log.js';
import type { Simulation } from '../state/state.js';
import type { Grant, AccessCheck } from '../state/tokens.js';
import type { RingAnswer, RingRequest } from './endpoint.js';

/** The common parts of the Vision API's endpoints: bearer tokens, bodies in JSON, JSON:API documents and errors. */

/**
 * Acts for the account of the token. Answers 401 to a bad token, and 404 to one whose app was removed from the account.
 */
export function withIntegration<Answer extends RingAnswer | Promise<RingAnswer>>(
  simulation: Simulation,
  request: RingRequest,
  act: (grant: Grant) => Answer,
): Answer | RingAnswer {
  const check = checkToken(simulation, request);
  if (check.kind !== 'good') return unauthorized(check.kind);
  const { user, integration } = check.grant;
  if (user.integration !== integration) return refuse(404, 'Not Found', 'This token belongs to no integration.');
  return act(check.grant);
}

export function checkToken(simulation: Simulation, request: RingRequest): AccessCheck | { kind: 'missing' } {
  const token = bearerToken(request);
  return token === undefined ? { kind: 'missing' } : simulation.state.tokens.checkAccessToken(token);
}

/** The record of a request with a bearer token. */
export function recordOfBearer(
  simulation: Simulation,
  request: RingRequest,
): { account_id: string | null; facts: RequestFacts } {
  const token = bearerToken(request);
  return {
    account_id: token === undefined ? null : simulation.state.tokens.accountOf(token),
    facts: { device_id: request.params.device_id },
  };
}

export type TokenProblem = Exclude<AccessCheck['kind'], 'good'> | 'missing';

export const TOKEN_PROBLEMS: Record<TokenProblem, string> = {
  missing: 'No bearer token.',
  unknown: 'Unknown access token.',
  expired: 'The access token has expired.',
  revoked: 'The access token was revoked.',
  'refresh-token': 'This is a refresh token.',
};

export function unauthorized(problem: TokenProblem): RingAnswer {
  return refuse(401, 'Invalid Client', TOKEN_PROBLEMS[problem]);
}

/** The titles that Ring's pages name for a status of any endpoint. */
const TITLES: Partial<Record<number, string>> = { 401: 'Invalid Client', 403: 'Out of Scope Access' };

export function simulatedFailure(status: number): RingAnswer {
  return refuse(status, TITLES[status] ?? 'Simulated Fault', 'A fault of the Ring simulator.');
}

export function refuse(status: number, title: string, detail: string): RingAnswer {
  return jsonApi(status, { errors: [{ status: String(status), title, detail }] });
}

export function jsonApi(status: number, document: object): RingAnswer {
  return { status, headers: { 'Content-Type': 'application/vnd.api+json' }, body: JSON.stringify(document) };
}

/** Undefined for a body that is empty, malformed or of another type. */
export function readJson({ contentType, body }: RingRequest): unknown {
  if (contentType !== 'application/json') return undefined;
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}

export function bearerToken(request: RingRequest): string | undefined {
  return /^Bearer +(\S+)$/i.exec(request.authorization ?? '')?.[1];
}
