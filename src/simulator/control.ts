/**
 * Control over HTTP, for tests and scripts. JSON in, JSON out.
 *
 * | request | body or query | answer |
 * |---|---|---|
 * | `POST /control/users` | `{first_name?, last_name?, email?, phone_number?, account_id?, devices?: [{id?, name}]}` | 201 the user `{id, account_id, attributes, devices}` |
 * | `GET /control/users` | | 200 list of users |
 * | `POST /control/codes` | `{user_id}` | 201 `{code, account_id}`: installs the app on all devices, sends nothing |
 * | `POST /control/installs` | `{user_id, send_as?: "json" \| "form" \| "query"}` | 201 `{account_id, callback: {status, body}, repeated?}`: installs and sends the callback. `callback` is null when a fault makes it late; its `status` is null when the app didn't answer; `repeated` is the second answer when a fault sent it twice |
 * | `GET /control/link-url` | `?user_id=` | 200 `{url, nonce, time}`, fresh; `time` in epoch ms |
 * | `GET /control/integrations` | | 200 list of `{user_id, account_id, status, account_identifier, device_ids}`, of users who have the app |
 * | `DELETE /control/integrations` | `?user_id=&tokens=revoked\|good` | 204: the user removes the app. Ring revokes the tokens (the default); `good` leaves them, to be answered 404 |
 * | `PUT /control/faults` | a list of faults, see faults.ts; replaces the list | 204 |
 * | `PUT /control/settings` | `{integrationBody: "flat" \| "json-api"}` | 204 |
 * | `GET /control/requests` | | 200 list of what Ring received, see `RecordedRequest` in request-log.ts |
 * | `DELETE /control` | | 204: back to the beginning: users, tokens, faults, settings, requests |
 *
 * Errors are `{error}`: 400 for what the schema refuses, 404 for an unknown user, 409 for what can't be done now.
 * Installing for a user who has the app already is removing and adding it: the old tokens die, the status is pending.
 */
import { randomBytes } from 'node:crypto';

import type { ErrorRequestHandler } from 'express';
import express, { Router } from 'express';
import { z } from 'zod';

import type { RingUser } from './accounts.js';
import { removeIntegration } from './accounts.js';
import { faultsSchema } from './faults.js';
import { deliverCode, install, linkRedirect, SEND_AS } from './linking.js';
import type { Simulation } from './state.js';
import { INTEGRATION_BODIES, reset } from './state.js';

class ControlError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const text = z.string().min(1).max(200);
const newUser = z.strictObject({
  first_name: text.optional(),
  last_name: text.optional(),
  email: text.optional(),
  phone_number: text.optional(),
  account_id: text.optional(),
  devices: z
    .array(z.strictObject({ id: text.optional(), name: text }))
    .max(50)
    .default([{ name: 'Front Door' }, { name: 'Back Garden' }]),
});
const ofUser = z.strictObject({ user_id: z.string() });
const newInstall = ofUser.extend({ send_as: z.enum(SEND_AS).default('json') });
const removal = ofUser.extend({ tokens: z.enum(['revoked', 'good']).default('revoked') });
const settings = z.strictObject({ integrationBody: z.enum(INTEGRATION_BODIES) });

export function controlRouter(simulation: Simulation): Router {
  const router = Router();
  router.use(express.json({ limit: '2mb' }));

  router.post('/users', (request, response) => {
    const { account_id, devices, ...attributes } = newUser.parse(request.body);
    const added = simulation.state.accounts.add({ account_id, attributes, devices: devices.map(withId) });
    if (added.kind === 'refused') throw new ControlError(409, added.reason);
    response.status(201).json(describeUser(added.user));
  });

  router.get('/users', (_request, response) => {
    response.json(simulation.state.accounts.all().map(describeUser));
  });

  router.post('/codes', (request, response) => {
    const user = findUser(simulation, ofUser.parse(request.body).user_id);
    const code = installOnAllDevices(simulation, user);
    response.status(201).json({ code, account_id: user.account_id });
  });

  router.post('/installs', async (request, response) => {
    const { user_id, send_as } = newInstall.parse(request.body);
    const user = findUser(simulation, user_id);
    const delivery = await deliverCode(simulation, installOnAllDevices(simulation, user), send_as);
    const [callback, repeated] = delivery.kind === 'late' ? [null] : delivery.answers;
    response.status(201).json({ account_id: user.account_id, callback, repeated });
  });

  router.get('/link-url', (request, response) => {
    const user = findUser(simulation, ofUser.parse(request.query).user_id);
    if (user.integration === null) throw new ControlError(409, 'this user has not installed the app');
    response.json(linkRedirect(simulation, user));
  });

  router.get('/integrations', (_request, response) => {
    response.json(simulation.state.accounts.all().flatMap(describeIntegration));
  });

  router.delete('/integrations', (request, response) => {
    const { user_id, tokens } = removal.parse(request.query);
    removeIntegration(findUser(simulation, user_id), tokens);
    response.status(204).end();
  });

  router.put('/faults', (request, response) => {
    simulation.state.faults.replace(faultsSchema.parse(request.body));
    response.status(204).end();
  });

  router.put('/settings', (request, response) => {
    simulation.state.integrationBody = settings.parse(request.body).integrationBody;
    response.status(204).end();
  });

  router.get('/requests', (_request, response) => {
    response.json(simulation.state.requests.list());
  });

  router.delete('/', (_request, response) => {
    reset(simulation);
    response.status(204).end();
  });

  router.use(() => {
    throw new ControlError(404, 'no such control');
  });
  router.use(answerError);
  return router;
}

function findUser(simulation: Simulation, id: string): RingUser {
  const user = simulation.state.accounts.find(id);
  if (user === undefined) throw new ControlError(404, 'no such user');
  return user;
}

function installOnAllDevices(simulation: Simulation, user: RingUser): string {
  return install(
    simulation,
    user,
    user.devices.map((device) => device.id),
  );
}

function withId({ id, name }: { id?: string | undefined; name: string }): { id: string; name: string } {
  return { id: id ?? `device-${randomBytes(6).toString('hex')}`, name };
}

function describeUser({ id, account_id, attributes, devices }: RingUser): object {
  return { id, account_id, attributes, devices };
}

function describeIntegration({ id, account_id, integration }: RingUser): object[] {
  if (integration === null) return [];
  const { status, account_identifier, device_ids } = integration;
  return [{ user_id: id, account_id, status, account_identifier, device_ids }];
}

const answerError: ErrorRequestHandler = (error: unknown, _request, response, next) => {
  if (error instanceof z.ZodError) {
    response.status(400).json({ error: z.prettifyError(error) });
  } else if (error instanceof ControlError) {
    response.status(error.status).json({ error: error.message });
  } else if (error instanceof SyntaxError) {
    response.status(400).json({ error: 'malformed JSON' });
  } else {
    next(error);
  }
};
