import type { Request, Response } from 'express';
import express, { Router } from 'express';
import { z } from 'zod';
import {
  deliverInstallation,
  hasAccepted,
  install,
  linkRedirect,
  SEND_AS,
  uninstall,
  USUALLY_SENT_AS,
} from '../outbound/installation.js';
import { post, prepare } from '../outbound/webhooks.js';
import type { RingUser } from '../state/accounts.js';
import type { Simulation } from '../state/state.js';
import { webhookRouter } from './delivery-routes.js';
import { readChoices, readPressedEvent } from './event-form.js';
import { integrationPage } from './integration-page.js';
import { misbehaviourRouter } from './misbehaviour-routes.js';
import * as pages from './pages.js';
import { STYLESHEET } from './stylesheet.js';

const installForm = z.object({
  device_id: z
    .union([z.string(), z.array(z.string())])
    .default([])
    .transform((ids) => [ids].flat()),
  send_as: z.enum(SEND_AS).default(USUALLY_SENT_AS),
});

/** The Appstore in the browser: Ring users, what they install, what happens to them, and Ring's faults. */
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
  router.post('/users/:id/events', form, forUser(simulation, letItHappen));
  router.post('/users/:id/remove', forUser(simulation, remove));

  router.use(misbehaviourRouter(simulation));
  router.use(webhookRouter(simulation));

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

function showUser({ app, state }: Simulation, user: RingUser, request: Request, response: Response): void {
  const { integration } = user;
  if (integration === null) {
    response.send(pages.installPage(user, app));
    return;
  }
  const newestDelivery = state.deliveries.list().findLast(({ account_id }) => account_id === user.account_id);
  response.send(integrationPage(user, integration, { app, choices: readChoices(request.query), newestDelivery }));
}

async function letItHappen(
  simulation: Simulation,
  user: RingUser,
  request: Request,
  response: Response,
): Promise<void> {
  const pressed = readPressedEvent(request.body, simulation.now());
  if (pressed.kind === 'none') {
    response.status(400).send(pages.messagePage('Nothing happened', 'The form came without an event.'));
    return;
  }
  const { wish, deliver, choices } = pressed;
  await post(simulation, prepare(simulation, user, wish, { deliver }));
  // The next event is most likely delivered in the same way.
  backTo(user, response, choices);
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

function backTo(user: RingUser, response: Response, query: Record<string, string> = {}): void {
  const search = new URLSearchParams(query).toString();
  response.redirect(303, `/users/${encodeURIComponent(user.id)}${search === '' ? '' : `?${search}`}`);
}
