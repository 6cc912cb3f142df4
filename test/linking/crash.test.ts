import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import type { Visitor } from '../support/clients/visitor.js';
import { cards } from '../support/features/linking.js';
import { until } from '../support/waiting/until.js';
import { createProcessWorld, type ProcessWorld } from '../support/worlds/process.js';
import type { Fault, RingRequest, RingUser } from '../support/worlds/ring.js';

/**
 * One kill for all places: two instances have twenty job workers, and Ring holds each of them at another place, so that
 * both die with a job in every place at once. Then one instance starts again.
 */

const PASSWORD = 'correct horse battery staple';
const INTEGRATION_PATH = '/v1/accounts/me/app-integrations';

/** A place in the course of a link at which the process is killed. */
interface Place {
  where: string;
  /** The place where Ring holds the job. The last link waits for a worker instead. */
  held?: Pick<Fault, 'endpoint' | 'when'>;
  /** The confirmation step in the table at that moment. */
  step: string;
  /** The status at Ring. */
  atRing: string;
}

const PLACES: readonly Place[] = [
  {
    where: 'before the POST arrived',
    held: { endpoint: 'integration-post', when: 'before' },
    step: 'POSTING',
    atRing: 'pending',
  },
  {
    where: "between the POST's effect and its answer",
    held: { endpoint: 'integration-post', when: 'after' },
    step: 'POSTING',
    atRing: 'awaiting',
  },
  {
    where: 'between the POST and the PATCH',
    held: { endpoint: 'integration-patch', when: 'before' },
    step: 'PATCHING',
    atRing: 'awaiting',
  },
  {
    where: "between the PATCH's effect and its answer",
    held: { endpoint: 'integration-patch', when: 'after' },
    step: 'PATCHING',
    atRing: 'completed',
  },
  { where: 'between the claim and the POST', step: 'CLAIMED', atRing: 'pending' },
];

interface Linking extends Place {
  ringUser: RingUser;
  visitor: Visitor;
}

interface Delivery {
  where: string;
  when: 'before' | 'after';
  ringUser: RingUser;
  code: string;
}

let world: ProcessWorld;
let linkings: Linking[];
let deliveries: Delivery[];
/** Users whose pairs are stored while their accounts are not known yet. */
let unidentified: RingUser[];
/** The answers to Ring's callbacks that the kill interrupted. */
let interrupted: Promise<number | undefined>[];
/** The later answers to the same codes, each delivered twice at once. */
let redelivered: Promise<number | undefined>[];

beforeAll(async () => {
  world = await createProcessWorld();
  const port = Number(world.environment.PORT);
  const instances = [await world.startApp(), await world.startApp({ PORT: `${port + 1}` })];
  linkings = [];
  for (const place of PLACES) linkings.push({ ...place, ...(await arriveAtTheButton()) });
  deliveries = [];
  for (const when of ['before', 'after'] as const) {
    const ringUser = await world.ring.createUser();
    const { code } = await world.ring.issueCode(ringUser);
    deliveries.push({
      where: when === 'before' ? 'before Ring used the code' : 'after Ring used the code',
      when,
      ringUser,
      code,
    });
  }

  // Everything from here on happens within the 8 seconds that a call to Ring may take.
  unidentified = await Promise.all(Array.from({ length: 17 }, () => world.ring.createUser()));
  await world.ring.setFaults([{ endpoint: 'users-me', fault: { kind: 'silence' } }]);
  for (const user of unidentified.slice(0, 16)) await world.ring.install(user);
  await until(
    'sixteen workers wait for the account',
    async () => (await requestsTo('/v1/users/me', 'silence')).length === 16,
  );
  for (const { held, visitor, ringUser } of linkings) {
    await world.ring.setFaults(held === undefined ? [] : [{ ...held, fault: { kind: 'silence' }, times: 1 }]);
    visitor.submit('/ring/link').catch(() => undefined);
    await until('the job hangs, or waits for a worker', async () => {
      const [link] = await linksOf(ringUser);
      return held === undefined
        ? link !== undefined
        : (await requestsTo(INTEGRATION_PATH, 'silence')).some(({ account_id }) => account_id === ringUser.account_id);
    });
  }
  // The last user finds no free worker: the pair is stored, and its account has not been asked for.
  for (const user of unidentified.slice(16)) await world.ring.install(user);
  interrupted = [];
  for (const { when, code, ringUser } of deliveries) {
    await world.ring.setFaults([{ endpoint: 'token', when, fault: { kind: 'silence' }, times: 1 }]);
    interrupted.push(deliver(code));
    await until('the exchange hangs', async () => (await exchangesOf(ringUser)).length === 1);
  }
  await world.ring.setFaults([]);
  await expectEveryPlace();

  for (const instance of instances) instance.kill('SIGKILL');
  for (const instance of instances) await instance.ended;
  await world.startApp();
  redelivered = deliveries.flatMap(({ code }) => [deliver(code), deliver(code)]);
});
afterAll(() => world.stop());

describe.each(PLACES)('a crash $where', ({ where }) => {
  const linking = (): Linking => found(linkings.find((one) => one.where === where));

  test('is made good by the next process: the link is completed, here and at Ring', async () => {
    const { ringUser } = linking();
    await until('the link is completed', async () => (await linksOf(ringUser))[0]?.status === 'COMPLETED');

    expect(await linksOf(ringUser)).toEqual([{ status: 'COMPLETED', confirmation_step: null, last_error: null }]);
    expect(await world.ring.integrationOf(ringUser)).toMatchObject({ status: 'completed' });
    const tokens = await world.sql('SELECT status FROM ring_tokens WHERE account_id = $1', [ringUser.account_id]);
    expect(tokens).toEqual([{ status: 'CLAIMED' }]);
  });

  test('has taken effect at Ring once, and no more', async () => {
    const effects = (await requestsTo(INTEGRATION_PATH))
      .filter(({ account_id, effect_status }) => account_id === linking().ringUser.account_id && effect_status === 200)
      .map(({ method }) => method);
    expect(effects).toEqual(['POST', 'PATCH']);
    expect(await exchangesOf(linking().ringUser)).toHaveLength(1);
  });

  test('leaves the user signed in, and the page says that the account is linked', async () => {
    const { visitor } = linking();
    await visitor.open('/ring/home');
    expect(cards(visitor)).toEqual(['Linked']);
    await visitor.open('/ring/link');
    expect(visitor.page.text).not.toMatch(/being finished|isn’t answering/);
  });
});

describe('a crash between the exchange of a code and the lookup of its account', () => {
  test('loses nothing: every pair gets its account and enters the pool', async () => {
    await until('every pair is unclaimed', async () =>
      (await statusesOf(unidentified)).every((status) => status === 'UNCLAIMED'),
    );
    for (const user of unidentified) expect(await exchangesOf(user)).toHaveLength(1);
  });

  test('lets its user link', async () => {
    const visitor = world.visitor();
    await visitor.open((await world.ring.linkUrl(found(unidentified[0]))).url);
    await visitor.submit('/sign-up', { email: 'after.the.crash@example.com', password: PASSWORD });
    expect(visitor.heading).toBe('Your Ring account is linked');
  });
});

describe('a crash during the exchange of a code', () => {
  test('leaves Ring without an answer', async () => {
    expect(await Promise.all(interrupted)).toEqual([undefined, undefined]);
  });

  test('is answered 503 when the code comes again, as often as it does, and the code is not sent to Ring again', async () => {
    expect(await Promise.all(redelivered)).toEqual([503, 503, 503, 503]);
    for (const { ringUser } of deliveries) expect(await exchangesOf(ringUser)).toHaveLength(1);
    expect(await statusesOf(deliveries.map(({ ringUser }) => ringUser))).toEqual([]);
  });

  test('is over when the user removes the app and adds it again', async () => {
    for (const { ringUser } of deliveries) expect((await world.ring.install(ringUser)).callback?.status).toBe(200);
    await until('the new pairs are unclaimed', async () => {
      const statuses = await statusesOf(deliveries.map(({ ringUser }) => ringUser));
      return statuses.length === 2 && statuses.every((status) => status === 'UNCLAIMED');
    });
  });
});

/** A user who installed the app, signed up, and is at the button that links. */
async function arriveAtTheButton(): Promise<{ ringUser: RingUser; visitor: Visitor }> {
  const visitor = world.visitor();
  await visitor.open('/ring/home');
  await visitor.submit('/sign-up', { email: `user-${crypto.randomUUID()}@example.com`, password: PASSWORD });
  const ringUser = await world.ring.createUser();
  await world.ring.install(ringUser);
  await until('the pair is unclaimed', async () => (await statusesOf([ringUser]))[0] === 'UNCLAIMED');
  await visitor.open((await world.ring.linkUrl(ringUser)).url);
  return { ringUser, visitor };
}

/** The kill comes at the places that the tests are about, and nowhere else. */
async function expectEveryPlace(): Promise<void> {
  for (const { ringUser, step, atRing } of linkings) {
    expect(await linksOf(ringUser)).toEqual([{ status: 'CONFIRMING', confirmation_step: step, last_error: null }]);
    expect((await world.ring.integrationOf(ringUser))?.status).toBe(atRing);
  }
  const received = await world.sql("SELECT id FROM ring_tokens WHERE status = 'RECEIVED'");
  expect(received).toHaveLength(unidentified.length);
  const exchanges = await Promise.all(deliveries.map(({ ringUser }) => exchangesOf(ringUser)));
  expect(exchanges.flat().map(({ effect_status }) => effect_status)).toEqual([null, 200]);
}

async function linksOf({ account_id }: RingUser) {
  return world.sql<Pick<Tables['account_links'], 'status' | 'confirmation_step' | 'last_error'>>(
    'SELECT status, confirmation_step, last_error FROM account_links WHERE account_id = $1',
    [account_id],
  );
}

async function statusesOf(users: readonly RingUser[]): Promise<string[]> {
  const rows = await world.sql<Pick<Tables['ring_tokens'], 'status'>>(
    'SELECT status FROM ring_tokens WHERE account_id = ANY($1)',
    [users.map(({ account_id }) => account_id)],
  );
  return rows.map(({ status }) => status);
}

async function requestsTo(path: string, fault?: string): Promise<RingRequest[]> {
  const requests = await world.ring.requests();
  return requests.filter((request) => request.path === path && (fault === undefined || request.fault === fault));
}

async function exchangesOf({ account_id }: RingUser): Promise<RingRequest[]> {
  return (await requestsTo('/oauth/token')).filter((request) => request.account_id === account_id);
}

/** Sends Ring's callback. Undefined if it gets no answer. */
async function deliver(code: string): Promise<number | undefined> {
  try {
    const response = await fetch(`${world.url}/ring/token`, { method: 'POST', body: new URLSearchParams({ code }) });
    return response.status;
  } catch {
    return undefined;
  }
}

function found<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('not found');
  return value;
}
