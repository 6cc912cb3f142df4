import { setTimeout as sleep } from 'node:timers/promises';
import type { Integration, RingUser } from '../state/accounts.js';
import { addIntegration, sharedDevices } from '../state/accounts.js';
import type { Simulation } from '../state/state.js';
import { removeApp } from '../state/unlinking.js';
import { linkNonce } from './signing.js';
import { announce } from './webhooks.js';

/** The ways in which the code may reach the app. */
export const SEND_AS = ['form', 'json', 'query'] as const;
export type SendAs = (typeof SEND_AS)[number];

/** Ring is said to send a form. Its own pages are silent, so an app has to be ready for the other ways. */
export const USUALLY_SENT_AS: SendAs = 'form';

/** How long this Ring waits for the app to answer the callback. */
const CALLBACK_TIMEOUT_MS = 30_000;

/** The longest answer of the app that is kept. The rest is cut off. */
const LONGEST_KEPT_ANSWER = 10_000;

/** The answer of the app's callback. It has no status if the app couldn't be reached. */
export interface CallbackAnswer {
  status: number | null;
  body: string;
}

export type Delivery = { kind: 'delivered'; answers: [CallbackAnswer, ...CallbackAnswer[]] } | { kind: 'late' };

export interface LinkRedirect {
  url: string;
  nonce: string;
  /** epoch ms */
  time: number;
}

/**
 * The user adds the app and chooses devices. An earlier installation ends first, as if it had been removed. Returns an
 * authorization code for the app, which the caller may send.
 */
export function install(simulation: Simulation, user: RingUser, deviceIds: string[]): string {
  removeApp(simulation, user, 'revoked');
  const integration = addIntegration(user, deviceIds, simulation.now());
  return simulation.state.tokens.issueCode({ user, integration });
}

/** Sends the code to the app's token-exchange callback: once, or as the waiting callback fault says, twice or late. */
export async function deliverCode(simulation: Simulation, code: string, sendAs: SendAs): Promise<Delivery> {
  const send = (): Promise<CallbackAnswer> => sendCode(simulation, code, sendAs);
  const fault = simulation.state.faults.takeForCallback()?.fault;
  switch (fault?.kind) {
    case undefined:
      return { kind: 'delivered', answers: [await send()] };
    case 'twice':
      return { kind: 'delivered', answers: await Promise.all([send(), send()]) };
    case 'delay':
      void later(simulation, fault.ms, send);
      return { kind: 'late' };
  }
}

/** Sends the code and, if webhooks are automatic, a `device_added` for each device right after it. */
export async function deliverInstallation(
  simulation: Simulation,
  user: RingUser,
  code: string,
  sendAs: SendAs,
): Promise<Delivery> {
  const delivery = await deliverCode(simulation, code, sendAs);
  for (const { id } of sharedDevices(user)) announce(simulation, user, { type: 'device_added', device_id: id });
  return delivery;
}

/** The user removes the app from the account. Ring tells the app if webhooks are automatic. */
export function uninstall(simulation: Simulation, user: RingUser, tokens: Integration['tokens']): void {
  if (user.integration === null) return;
  removeApp(simulation, user, tokens);
  announce(simulation, user, { type: 'app_integration_removed' });
}

/** The address that Ring redirects the browser to: the account-link page, with a new nonce for this user. */
export function linkRedirect(simulation: Simulation, user: RingUser): LinkRedirect {
  const time = simulation.now();
  const nonce = linkNonce(simulation.app.hmacKey, time, user.account_id);
  user.nonces.set(nonce, time);
  const query = new URLSearchParams({ nonce, time: String(time) });
  return { url: `${simulation.app.publicUrl}/ring/link?${query.toString()}`, nonce, time };
}

export function hasAccepted(answer: CallbackAnswer): boolean {
  return answer.status !== null && answer.status >= 200 && answer.status < 300;
}

async function later(simulation: Simulation, ms: number, send: () => Promise<CallbackAnswer>): Promise<void> {
  try {
    await sleep(ms, undefined, { signal: simulation.state.lifetime.signal });
  } catch {
    // The simulator was reset or closed first: there is nothing left to deliver.
    return;
  }
  await send();
}

async function sendCode(simulation: Simulation, code: string, sendAs: SendAs): Promise<CallbackAnswer> {
  const answer = await postCode(simulation, code, sendAs);
  simulation.log(`callback with the code as ${sendAs} -> ${answer.status ?? answer.body}`);
  return answer;
}

async function postCode(simulation: Simulation, code: string, sendAs: SendAs): Promise<CallbackAnswer> {
  const { app, state } = simulation;
  const signal = AbortSignal.any([state.lifetime.signal, AbortSignal.timeout(CALLBACK_TIMEOUT_MS)]);
  try {
    const { url, ...request } = callbackRequest(`${app.internalUrl}/ring/token`, code, sendAs);
    const response = await fetch(url, { method: 'POST', redirect: 'manual', signal, ...request });
    const body = await response.text();
    return { status: response.status, body: body.slice(0, LONGEST_KEPT_ANSWER) };
  } catch {
    return { status: null, body: 'The app did not answer.' };
  }
}

interface CallbackRequest {
  url: string;
  headers?: Record<string, string>;
  body?: string | URLSearchParams;
}

function callbackRequest(url: string, code: string, sendAs: SendAs): CallbackRequest {
  switch (sendAs) {
    case 'form':
      return { url, body: new URLSearchParams({ code }) };
    case 'json':
      return { url, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ code }) };
    case 'query':
      return { url: `${url}?${new URLSearchParams({ code }).toString()}` };
  }
}
