import express, { Router } from 'express';
import { z } from 'zod';
import { newLifesUser, startLife } from '../life/scripted-life.js';
import { replayDeadLetters } from '../outbound/webhooks.js';
import type { Simulation } from '../state/state.js';
import { deliveriesPage, lifePage } from './delivery-pages.js';
import { messagePage } from './pages.js';

const lifeOf = z.object({ user_id: z.string().optional() });

/** The pages about webhooks that were sent, and about the scripted lives. */
export function webhookRouter(simulation: Simulation): Router {
  const router = Router();

  router.get('/deliveries', (_request, response) => {
    const { deliveries } = simulation.state;
    response.send(deliveriesPage(deliveries.list(), deliveries.deadLetters(simulation.now()).length));
  });
  router.post('/deliveries/replay', async (_request, response) => {
    await replayDeadLetters(simulation);
    response.redirect(303, '/deliveries');
  });

  router.post('/lives', express.urlencoded({ extended: false, limit: '64kb' }), (request, response) => {
    const { accounts } = simulation.state;
    const id = lifeOf.safeParse(request.body).data?.user_id;
    const added = id === undefined ? accounts.add(newLifesUser()) : undefined;
    const user = added?.kind === 'added' ? added.user : accounts.find(id ?? '');
    if (user === undefined) {
      response.status(404).send(messagePage('Nobody here', 'There is no such Ring user.'));
      return;
    }
    const { life } = startLife(simulation, user);
    response.redirect(303, `/lives/${life.id}`);
  });
  router.get('/lives/:id', (request, response) => {
    const life = simulation.state.lives.find(request.params.id);
    if (life !== undefined) response.send(lifePage(life));
    else response.status(404).send(messagePage('Not here', 'There is no such life. A restart or reset forgets them.'));
  });
  return router;
}
