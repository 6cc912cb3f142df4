import type { Request, Response } from 'express';
import express, { Router } from 'express';
import { z } from 'zod';

import type { RingUser } from './accounts.js';
import type { Fault } from './faults.js';
import { faultSchema } from './faults.js';
import { deliverInstallation, hasAccepted, install, linkRedirect, SEND_AS, uninstall } from './linking.js';
import * as pages from './pages.js';
import type { Simulation } from './state.js';
import { INTEGRATION_BODIES } from './state.js';
import { STYLESHEET } from './stylesheet.js';

const installForm = z.object({
  device_id: z
    .union([z.string(), z.array(z.string())])
    .default([])
    .transform((ids) => [ids].flat()),
  send_as: z.enum(SEND_AS).default('json'),
});

const settingsForm = z.object({ integrationBody: z.enum(INTEGRATION_BODIES) });

const numberField = z
  .string()
  .optional()
  .transform((text) => (text === undefined || text.trim() === '' ? undefined : Number(text)));

/** The forms together have a field for every kind of fault. */
const faultForm = z.object({
  endpoint: z.string().default('callback'),
  kind: z.string(),
  when: z.string().optional(),
  ms: numberField,
  status: numberField,
  retryAfterSeconds: numberField,
  times: numberField,
});

/** The Appstore in the browser: who the Ring user is, what they install, and what the simulator gets wrong. */
export function appstoreRouter(simulation: Simulation): Router {
  const router = Router();
  const form = express.urlencoded({ extended: false, limit: '64kb' });

  router.get('/style.css', (_request, response) => {
    response.type('css').send(STYLESHEET);
  });
  router.get('/', (_request, response) => {
    response.send(pages.usersPage(simulation.state.accounts.all()));
  });

  router.get('/users/:id', forUser(simulation, showUser));
  router.post('/users/:id/install', form, forUser(simulation, installForUser));
  router.post('/users/:id/sign-in', forUser(simulation, signIn));
  router.post('/users/:id/remove', forUser(simulation, remove));

  router.get('/misbehaviour', (_request, response) => {
    showMisbehaviour(simulation, response);
  });
  router.post(['/misbehaviour/ring', '/misbehaviour/callback'], form, (request, response) => {
    addFault(simulation, request, response);
  });
  router.post('/misbehaviour/clear', (_request, response) => {
    simulation.state.faults.replace([]);
    response.redirect(303, '/misbehaviour');
  });
  router.post('/misbehaviour/settings', form, (request, response) => {
    const settings = settingsForm.safeParse(request.body);
    if (settings.success) simulation.state.settings.integrationBody = settings.data.integrationBody;
    response.redirect(303, '/misbehaviour');
  });

  router.use((_request, response) => {
    response.status(404).send(pages.messagePage('Not here', 'The simulator has no such page.'));
  });
  return router;
}

type UserPage = (simulation: Simulation, user: RingUser, request: Request, response: Response) => void | Promise<void>;

function forUser(simulation: Simulation, show: UserPage) {
  return async (request: Request<{ id: string }>, response: Response): Promise<void> => {
    const user = simulation.state.accounts.find(request.params.id);
    if (user === undefined) {
      response
        .status(404)
        .send(pages.messagePage('Nobody here', 'There is no such Ring user. A restart or reset forgets users.'));
      return;
    }
    await show(simulation, user, request, response);
  };
}

function showUser({ app }: Simulation, user: RingUser, _request: Request, response: Response): void {
  const { integration } = user;
  response.send(integration === null ? pages.installPage(user, app) : pages.integrationPage(user, integration, app));
}

async function installForUser(
  simulation: Simulation,
  user: RingUser,
  request: Request,
  response: Response,
): Promise<void> {
  // A second click on Install must not end the tokens of the first.
  if (user.integration !== null) {
    backTo(user, response);
    return;
  }
  const chosen = installForm.safeParse(request.body);
  const deviceIds = user.devices.map(({ id }) => id).filter((id) => chosen.data?.device_id.includes(id));
  if (!chosen.success || deviceIds.length === 0) {
    response.status(400).send(pages.installPage(user, simulation.app, 'Choose at least one device.'));
    return;
  }

  const delivery = await deliverInstallation(
    simulation,
    user,
    install(simulation, user, deviceIds),
    chosen.data.send_as,
  );
  const accepted = delivery.kind === 'late' || delivery.answers.some(hasAccepted);
  if (accepted) response.redirect(303, linkRedirect(simulation, user).url);
  else response.status(502).send(pages.refusedCodePage(user, delivery.answers[0]));
}

function signIn(simulation: Simulation, user: RingUser, _request: Request, response: Response): void {
  if (user.integration === null) backTo(user, response);
  else response.redirect(303, linkRedirect(simulation, user).url);
}

function remove(simulation: Simulation, user: RingUser, _request: Request, response: Response): void {
  uninstall(simulation, user, 'revoked');
  backTo(user, response);
}

function backTo(user: RingUser, response: Response): void {
  response.redirect(303, `/users/${encodeURIComponent(user.id)}`);
}

function addFault(simulation: Simulation, request: Request, response: Response): void {
  const fault = readFault(request.body);
  if (fault === undefined) {
    showMisbehaviour(simulation, response.status(400), 'This fault can not be added: a value is missing or wrong.');
    return;
  }
  simulation.state.faults.add(fault);
  response.redirect(303, '/misbehaviour');
}

function showMisbehaviour({ state }: Simulation, response: Response, problem?: string): void {
  response.send(pages.misbehaviourPage(state.faults.list(), state.settings.integrationBody, problem));
}

function readFault(body: unknown): Fault | undefined {
  const form = faultForm.safeParse(body);
  if (!form.success) return undefined;
  const { endpoint, when, times } = form.data;
  return faultSchema.safeParse({ endpoint, when, times, fault: fieldsOfKind(form.data) }).data;
}

/** A form sends every field; the ones that the chosen kind has no use for are left aside. */
function fieldsOfKind({ kind, ms, status, retryAfterSeconds }: z.infer<typeof faultForm>): object {
  switch (kind) {
    case 'delay':
      return { kind, ms };
    case 'status':
      return { kind, status, retryAfterSeconds };
    default:
      return { kind };
  }
}
