import { z } from 'zod';
import { announce } from '../outbound/webhooks.js';
import type { Integration, IntegrationStatus, RingUser } from '../state/accounts.js';
import { isNonceGood } from '../state/accounts.js';
import type { RequestFacts } from '../state/request-log.js';
import type { IntegrationBody, Simulation } from '../state/state.js';
import type { Grant } from '../state/tokens.js';
import type { RingAnswer, RingEndpoint, RingRequest } from './endpoint.js';
import {
  checkToken,
  recordOfBearer,
  jsonApi,
  refuse,
  simulatedFailure,
  unauthorized,
  withIntegration,
} from './json-api.js';

/** A masked e-mail address is far shorter. A longer text is cut off in the record. */
const LONGEST_RECORDED_TEXT = 320;

const confirmation = z.object({ account_identifier: z.string().min(1), nonce: z.string().min(1) });
const completion = z.object({ account_identifier: z.string().min(1), status: z.string().min(1).optional() });
const recordedFields = z.object({ account_identifier: z.unknown(), status: z.unknown() }).partial();

/** `GET /v1/users/me`. An unknown token is answered 403 here, and 401 by every other endpoint. */
export function usersMeEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: 'users-me',
    recordOf: (request) => recordOfBearer(simulation, request),
    handle: (request) => {
      const check = checkToken(simulation, request);
      if (check.kind === 'good') return userAnswer(check.grant.user);
      return check.kind === 'unknown' ? refuse(403, 'Forbidden', 'Unknown access token.') : unauthorized(check.kind);
    },
    fail: simulatedFailure,
  };
}

/** `POST /v1/accounts/me/app-integrations`: `pending` becomes `awaiting`. The nonce can be used once. */
export function integrationPostEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: 'integration-post',
    recordOf: (request) => recordOfIntegrationRequest(simulation, request),
    handle: (request) => withIntegration(simulation, request, (grant) => confirm(simulation, grant, request)),
    fail: simulatedFailure,
  };
}

/**
 * `PATCH /v1/accounts/me/app-integrations`: `awaiting` becomes `completed`. Without a status, only the account
 * identifier changes; Ring's pages don't mention that case.
 */
export function integrationPatchEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: 'integration-patch',
    recordOf: (request) => recordOfIntegrationRequest(simulation, request),
    handle: (request) => withIntegration(simulation, request, (grant) => update(simulation, grant, request)),
    fail: simulatedFailure,
  };
}

/** Any other request to Ring. It is recorded, so that a test notices a call that should not be made. */
export function unknownEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: null,
    recordOf: (request) => recordOfBearer(simulation, request),
    handle: () => refuse(404, 'Not Found', 'The Ring simulator has nothing here.'),
    fail: simulatedFailure,
  };
}

function confirm(simulation: Simulation, { user, integration }: Grant, request: RingRequest): RingAnswer {
  const body = confirmation.safeParse(readJson(request));
  if (!body.success) return missingFields('account_identifier and nonce');
  const { account_identifier, nonce } = body.data;
  // Ring's pages don't say how a second POST is answered. The strict answer is the one that an app has to be ready for.
  if (integration.status !== 'pending' || !isNonceGood(user, nonce, simulation.now())) {
    return refuse(400, 'Invalid Nonce', 'The nonce is wrong, older than 600 seconds or used.');
  }
  user.nonces.delete(nonce);
  return moveTo('awaiting', integration, account_identifier, simulation.state.settings.integrationBody);
}

function update(simulation: Simulation, { user, integration }: Grant, request: RingRequest): RingAnswer {
  const body = completion.safeParse(readJson(request));
  if (!body.success) return missingFields('account_identifier and status');
  const { account_identifier, status } = body.data;
  if (status === undefined && integration.status !== 'pending') {
    return moveTo(integration.status, integration, account_identifier, simulation.state.settings.integrationBody);
  }
  if (status !== 'completed' || integration.status !== 'awaiting') {
    return refuse(400, 'Invalid Status Transition', `An integration that is ${integration.status} can't become that.`);
  }
  announce(simulation, user, { type: 'app_integration_added' });
  return moveTo('completed', integration, account_identifier, simulation.state.settings.integrationBody);
}

function moveTo(
  status: IntegrationStatus,
  integration: Integration,
  accountIdentifier: string,
  shape: IntegrationBody,
): RingAnswer {
  integration.status = status;
  integration.account_identifier = accountIdentifier;
  return shape === 'flat' ? json(200, { status }) : jsonApi(200, { data: { attributes: { status } } });
}

function userAnswer(user: RingUser): RingAnswer {
  return jsonApi(200, { data: { type: 'users', id: user.account_id, attributes: user.attributes } });
}

function recordOfIntegrationRequest(
  simulation: Simulation,
  request: RingRequest,
): { account_id: string | null; facts: RequestFacts } {
  const body = recordedFields.safeParse(readJson(request)).data;
  return {
    account_id: recordOfBearer(simulation, request).account_id,
    facts: {
      account_identifier: recordable(body?.account_identifier),
      requested_status: recordable(body?.status),
    },
  };
}

function recordable(value: unknown): string | undefined {
  return typeof value === 'string' ? value.slice(0, LONGEST_RECORDED_TEXT) : undefined;
}

/** Undefined for a body that is empty, malformed or of another type. Ring treats all of these as lacking the fields. */
function readJson(request: RingRequest): unknown {
  if (request.contentType !== 'application/json') return undefined;
  try {
    return JSON.parse(request.body);
  } catch {
    return undefined;
  }
}

function missingFields(expected: string): RingAnswer {
  return refuse(400, 'Missing Required Fields', `Send a JSON object with ${expected}.`);
}

function json(status: number, body: object): RingAnswer {
  return { status, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
}
