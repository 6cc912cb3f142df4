import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EventWish } from '../outbound/events.js';
import { deliverCode, hasAccepted, install, linkRedirect, USUALLY_SENT_AS } from '../outbound/installation.js';
import { post, prepare } from '../outbound/webhooks.js';
import type { NewUser, RingUser } from '../state/accounts.js';
import { sharedDevices } from '../state/accounts.js';
import { newDevice } from '../state/devices.js';
import type { Life } from '../state/lives.js';
import type { Simulation, State } from '../state/state.js';
import { Browser, headingOf } from './browser.js';

/** The longest wait for a link to be completed, or for a webhook of Ring's own to be sent. */
const PATIENCE_MS = 30_000;
const POLL_MS = 50;

/** The data that all steps share. */
interface Context {
  readonly simulation: Simulation;
  readonly state: State;
  readonly user: RingUser;
  readonly browser: Browser;
}

interface Step {
  step: string;
  /** If a needed step fails, the rest is left out. */
  isNeeded: boolean;
  /** Returns the result in words; throws what went wrong. */
  run: (context: Context) => Promise<string>;
}

const STEPS: readonly Step[] = [
  { step: 'install the app', isNeeded: true, run: installApp },
  { step: 'device_added', isNeeded: false, run: addDevices },
  { step: 'follow the redirect to the app', isNeeded: true, run: openLinkPage },
  { step: 'sign up at the app', isNeeded: true, run: signUp },
  { step: 'completed at Ring', isNeeded: true, run: waitUntilCompleted },
  { step: 'app_integration_added', isNeeded: false, run: confirmIntegration },
  { step: 'motion_detected', isNeeded: false, run: (context) => tellOfDevice(context, 'motion_detected', 'human') },
  { step: 'button_press', isNeeded: false, run: (context) => tellOfDevice(context, 'button_press') },
  { step: 'device_offline', isNeeded: false, run: (context) => tellOfDevice(context, 'device_offline') },
  { step: 'device_online', isNeeded: false, run: (context) => tellOfDevice(context, 'device_online') },
  { step: 'device_removed', isNeeded: false, run: (context) => tellOfDevice(context, 'device_removed') },
  {
    step: 'app_integration_removed',
    isNeeded: false,
    run: (context) => tell(context, [{ type: 'app_integration_removed' }]),
  },
];

/** A new user for a life. */
export function newLifesUser(): NewUser {
  return {
    attributes: { first_name: 'Vita', last_name: 'Lang', email: `vita-${randomBytes(3).toString('hex')}@example.com` },
    devices: [newDevice({ name: 'Front Door', power: 'battery' }), newDevice({ name: 'Driveway' })],
  };
}

/** Starts the user's whole life with the app. An earlier installation ends. `over` fulfils when the life has ended. */
export function startLife(simulation: Simulation, user: RingUser): { life: Life; over: Promise<void> } {
  const { state } = simulation;
  const life: Life = { id: randomUUID(), user_id: user.id, state: 'running', steps: [] };
  state.lives.add(life);
  const browser = new Browser(simulation.app, state.lifetime.signal);
  return { life, over: live(life, { simulation, state, user, browser }) };
}

async function live(life: Life, context: Context): Promise<void> {
  for (const { step, isNeeded, run } of STEPS) {
    const outcome = await run(context).then(
      (detail) => ({ ok: true, detail }),
      (error: unknown) => ({ ok: false, detail: error instanceof Error ? error.message : 'failed' }),
    );
    life.steps.push({ step, ...outcome });
    if (isNeeded && !outcome.ok) break;
  }
  life.state = 'over';
}

async function installApp({ simulation, user }: Context): Promise<string> {
  const deviceIds = user.devices.map(({ id }) => id);
  const delivery = await deliverCode(simulation, install(simulation, user, deviceIds), USUALLY_SENT_AS);
  if (delivery.kind === 'late') return 'the code is late, because a fault wants it so';
  const [answer] = delivery.answers;
  const outcome = `the callback answered ${answer.status ?? 'nothing'}`;
  if (!hasAccepted(answer)) throw new Error(outcome);
  return outcome;
}

async function addDevices(context: Context): Promise<string> {
  const devices = sharedDevices(context.user);
  return tell(
    context,
    devices.map(({ id }) => ({ type: 'device_added', device_id: id })),
  );
}

async function openLinkPage({ simulation, user, browser }: Context): Promise<string> {
  const page = await browser.open(linkRedirect(simulation, user).url);
  const outcome = `${page.status} “${headingOf(page)}”`;
  if (page.status !== 200) throw new Error(outcome);
  return outcome;
}

async function signUp({ browser }: Context): Promise<string> {
  const email = `vita-${randomBytes(8).toString('hex')}@example.com`;
  const password = randomBytes(24).toString('base64url');
  const page = await browser.submit('/sign-up', { email, password });
  const outcome = `${email}: ${page.status} “${headingOf(page)}”`;
  if (page.status !== 200) throw new Error(outcome);
  return outcome;
}

async function waitUntilCompleted({ state, user }: Context): Promise<string> {
  await until(state, () => user.integration?.status === 'completed');
  if (user.integration?.status !== 'completed') throw new Error(`it is ${user.integration?.status ?? 'not installed'}`);
  return `linked to ${user.integration.account_identifier ?? 'nobody'}`;
}

/** Ring sends this event by itself if webhooks are automatic; the app must not get it twice. */
async function confirmIntegration(context: Context): Promise<string> {
  const type = 'app_integration_added';
  const { state, user } = context;
  if (!state.settings.automaticWebhooks) return tell(context, [{ type }]);
  const first = (): number | null | undefined =>
    state.deliveries.list().findLast((delivery) => delivery.type === type && delivery.account_id === user.account_id)
      ?.attempts[0]?.status;
  await until(state, () => first() !== undefined);
  return checkAnswers([first() ?? null]);
}

function tellOfDevice(context: Context, type: string, sub_type?: string): Promise<string> {
  const [device] = sharedDevices(context.user);
  if (device === undefined) return Promise.reject(new Error('the app sees no device'));
  return tell(context, [{ type, device_id: device.id, ...(sub_type !== undefined && { sub_type }) }]);
}

/** Lets the events happen at Ring and sends their webhooks, one after another. */
async function tell({ simulation, user }: Context, wishes: EventWish[]): Promise<string> {
  const statuses: (number | null)[] = [];
  for (const wish of wishes) {
    const attempts = await post(simulation, prepare(simulation, user, wish));
    statuses.push(...attempts.map(({ status }) => status));
  }
  return checkAnswers(statuses);
}

function checkAnswers(statuses: (number | null)[]): string {
  const outcome = `the webhook answered ${statuses.map((status) => status ?? 'nothing').join(', ')}`;
  const areGood = statuses.every((status) => status !== null && status >= 200 && status < 300);
  if (!areGood) throw new Error(outcome);
  return outcome;
}

/** Waits until the condition holds, or until patience runs out. */
async function until({ lifetime }: State, isSo: () => boolean): Promise<void> {
  const giveUpAt = performance.now() + PATIENCE_MS;
  while (!isSo() && performance.now() < giveUpAt) {
    await sleep(POLL_MS, undefined, { signal: lifetime.signal });
  }
}
