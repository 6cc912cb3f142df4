import type { Request, Response } from 'express';
import express, { Router } from 'express';
import { z } from 'zod';
import type { Fault } from '../state/faults.js';
import { faultSchema } from '../state/faults.js';
import type { Simulation } from '../state/state.js';
import { settingsSchema } from '../state/state.js';
import { misbehaviourPage } from './misbehaviour-page.js';

const numberField = z
  .string()
  .optional()
  .transform((text) => (text === undefined || text.trim() === '' ? undefined : Number(text)));

/** The fields of all forms for faults together. */
const faultForm = z.object({
  endpoint: z.string().default('callback'),
  kind: z.string(),
  when: z.string().optional(),
  ms: numberField,
  status: numberField,
  retryAfterSeconds: numberField,
  times: numberField,
});

/** The settings of all forms together. Each form sends some of them. */
const settingsForm = z
  .object({
    integrationBody: z.string(),
    refreshAnswer: z.string(),
    whepLocation: z.string(),
    defaultImageFormat: z.string(),
    historyNext: z.string(),
    webhookSpeed: z.string().transform(Number),
    automaticWebhooks: z.enum(['on', 'off']).transform((choice) => choice === 'on'),
  })
  .partial();

/** The pages on which Ring is told to fail, and to behave in other ways. */
export function misbehaviourRouter(simulation: Simulation): Router {
  const router = Router();
  const form = express.urlencoded({ extended: false, limit: '64kb' });

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
    changeSettings(simulation, request, response);
  });
  return router;
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

function changeSettings(simulation: Simulation, request: Request, response: Response): void {
  const form = settingsForm.safeParse(request.body);
  const settings = settingsSchema.safeParse(form.data);
  if (!settings.success) {
    showMisbehaviour(simulation, response.status(400), 'These settings can not be: a value is wrong.');
    return;
  }
  Object.assign(simulation.state.settings, settings.data);
  response.redirect(303, '/misbehaviour');
}

function showMisbehaviour({ state }: Simulation, response: Response, problem?: string): void {
  response.send(misbehaviourPage(state.faults.list(), state.settings, problem));
}

function readFault(body: unknown): Fault | undefined {
  const form = faultForm.safeParse(body);
  if (!form.success) return undefined;
  const { endpoint, when, times } = form.data;
  return faultSchema.safeParse({ endpoint, when, times, fault: fieldsOfKind(form.data) }).data;
}

/** The fields that belong to the chosen kind. A form sends all, and the others are ignored. */
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
