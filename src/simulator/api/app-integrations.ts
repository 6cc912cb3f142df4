import { z } from 'zod';
import { announce } from '../outbound/webhooks.js';
import type { RingUser } from '../state/accounts.js';
import { isNonceGood } from '../state/accounts.js';
import type { RequestFacts } from '../state/request-log.js';
import type { IntegrationBody, Simulation } from '../state/state.js';
import type { Grant } from '../state/tokens.js';
import type { RingAnswer, RingEndpoint, RingRequest } from './endpoint.js';
import {
  checkToken,
  recordOfBearer,
  jsonApi,
  readJson,
  refuse,
  simulatedFailure,
  TOKEN_PROBLEMS,
  withIntegration,
} from './json-api.js';

/** A masked e-mail address is far shorter. A longer text is cut off in the record. */
const LONGEST_RECORDED_TEXT = 320;

const confirmation = z.object({ account_identifier: z.string().min(1).optional(), nonce: z.string().min(1) });
const change = z
  .object({ account_identifier: z.string().min(1).optional(), status: z.string().min(1).optional() })
  .refine(({ account_identifier, status }) => account_identifier !== undefined || status !== undefined);
const recordedFields = z.object({ account_identifier: z.unknown(), status: z.unknown() }).partial();

/** `GET /v1/users/me`. No token and a bad one of any kind are answered 403 here, and 401 by every other endpoint. */
export function usersMeEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: 'users-me',
    recordOf: (request) => recordOfBearer(simulation, request),
    handle: (request) => {
      const check = checkToken(simulation, request);
      if (check.kind === 'good') return userAnswer(check.grant.user);
      return refuse(403, 'Forbidden', TOKEN_PROBLEMS[check.kind]);
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
 * `PATCH /v1/accounts/me/app-integrations`: `awaiting` becomes `completed`, or the account identifier changes, or both.
 * Any other transition is invalid, also one to the status that there is. So is a change before the POST.
 */
export function integrationPatchEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: 'integration-patch',
    recordOf: (request) => recordOfIntegrationRequest(simulation, request),
    handle: (request) => withIntegration(simulation, request, (grant) => update(simulation, grant, request)),
    fail: simulatedFailure,
  };
}

/** `DELETE /v1/accounts/me/app-integrations`. It exists for apps that begin the linking themselves; this one doesn't. */
export function integrationDeleteEndpoint(simulation: Simulation): RingEndpoint {
  return {
    name: null,
    recordOf: (request) => recordOfBearer(simulation, request),
    handle: (request) =>
      withIntegration(simulation, request, () =>
        refuse(403, 'Out of Scope Access', 'Only the user can remove this app.'),
      ),
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
  if (!body.success) return missingFields('nonce');
  const { account_identifier, nonce } = body.data;
  // Ring's pages don't say how a second POST is answered. The strict answer is the one that an app has to be ready for.
  if (integration.status !== 'pending' || !isNonceGood(user, nonce, simulation.now())) {
    return refuse(400, 'Invalid Nonce', 'The nonce is wrong, older than 600 seconds or used.');
  }
  user.nonces.delete(nonce);
  integration.status = 'awaiting';
  integration.account_identifier = account_identifier ?? null;
  return success({ status: 'awaiting' }, simulation.state.settings.integrationBody);
}

function update(simulation: Simulation, { user, integration }: Grant, request: RingRequest): RingAnswer {
  const body = change.safeParse(readJson(request));
  if (!body.success) return missingFields('status or account_identifier');
  const { account_identifier, status } = body.data;
  const isCompletion = status === 'completed' && integration.status === 'awaiting';
  const isRenaming = status === undefined && integration.status !== 'pending';
  if (!isCompletion && !isRenaming) {
    return refuse(400, 'Invalid Status Transition', `An integration that is ${integration.status} can't become that.`);
  }
  if (account_identifier !== undefined) integration.account_identifier = account_identifier;
  if (isCompletion) {
    integration.status = 'completed';
    announce(simulation, user, { type: 'app_integration_added' });
  }
  const updated = {
    account_identifier: integration.account_identifier,
    status: integration.status,
    updated_at: new Date(simulation.now()).toISOString(),
  };
  return success(updated, simulation.state.settings.integrationBody);
}

function success(attributes: object, shape: IntegrationBody): RingAnswer {
  switch (shape) {
    case 'flat':
      return json(200, attributes);
    case 'json-api':
      return jsonApi(200, { data: { attributes } });
    case 'none':
      return { status: 204, headers: {}, body: '' };
  }
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

/** A body that is empty, malformed or of another type lacks the fields, too. */
function missingFields(expected: string): RingAnswer {
  return refuse(400, 'Missing Required Fields', `Send a JSON object with ${expected}.`);
}

function json(status: number, body: object): RingAnswer {
  return { status, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
}
