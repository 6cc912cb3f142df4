import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import { hiddenFields, type Visitor } from '../support/clients/visitor.js';
import { until } from '../support/waiting/until.js';
import { type OwnPostgres, startOwnPostgres } from '../support/worlds/postgres.js';
import {
  type AppProcess,
  createProcessWorld,
  isReady,
  type ProcessWorld,
  statusOf,
} from '../support/worlds/process.js';
import type { Fault, RingRequest, RingUser } from '../support/worlds/ring.js';

const PASSWORD = 'correct horse battery staple';

let postgres: OwnPostgres;
let world: ProcessWorld;
let app: AppProcess;

beforeAll(async () => {
  postgres = await startOwnPostgres();
  world = await createProcessWorld({ databaseUrl: postgres.url });
  app = await world.startApp();
});
afterAll(async () => {
  await world.stop();
  await postgres.remove();
});

describe.each([
  { what: 'is stopped', end: () => postgres.stop() },
  { what: 'is killed', end: () => postgres.kill9() },
])('when Postgres $what', ({ end }) => {
  /** A user whose browser is at the button that links. */
  let waiting: Arrival;
  /** A user whose link waits for Ring when Postgres goes away. */
  let interrupted: Arrival;
  /** A visitor who has the forms open. */
  let stranger: { visitor: Visitor; html: string };
  let code: string;
  let codeOwner: RingUser;

  beforeAll(async () => {
    waiting = await arriveAtTheButton();
    interrupted = await arriveAtTheButton();
    const visitor = world.visitor();
    stranger = { visitor, html: (await visitor.open('/ring/home')).text };
    codeOwner = await world.ring.createUser();
    ({ code } = await world.ring.issueCode(codeOwner));
    await world.ring.setFaults([hold('integration-post')]);
    interrupted.visitor.submit('/ring/link').catch(() => undefined);
    await until('Ring has the POST', async () => (await requestsOf(interrupted.ringUser, 'POST')).length === 1);
    await end();
    await world.ring.release();
    await until("Ring's answer finds no database", async () => {
      const [post] = await requestsOf(interrupted.ringUser, 'POST');
      return typeof post?.status === 'number';
    });
  });

  test('the callback answers 503 as problem details, says when to come again, and spares the code', async () => {
    const response = await fetch(`${world.url}/ring/token`, { method: 'POST', body: new URLSearchParams({ code }) });

    expect(response.status).toBe(503);
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(response.headers.get('content-type')).toContain('application/problem+json');
    expect(await response.json()).toMatchObject({ status: 503 });
    expect(await requestsTo('/oauth/token', codeOwner)).toEqual([]);
  });

  test.each([
    ['the link page for a redirect from Ring', () => linkAddress()],
    ['the link page that is open already', () => Promise.resolve('/ring/link')],
    ['the home page', () => Promise.resolve('/ring/home')],
  ])('%s answers 503 with a page, and says when to come again', async (_page, address) => {
    const page = await waiting.visitor.openWithoutRedirects(await address());

    expect(page.status).toBe(503);
    expect(Number(page.headers['retry-after'])).toBeGreaterThan(0);
    expect(page.headers['content-type']).toContain('text/html');
    expect(page.text).toContain('<h1');
    expect(page.text).not.toMatch(/ECONNREFUSED|postgres|SELECT|knex/i);
  });

  test('the home page of a new visitor answers 503, not a form that could not be sent', async () => {
    const page = await world.visitor().open('/ring/home');

    expect(page.status).toBe(503);
    expect(page.text).not.toContain('<form');
  });

  test.each(['/sign-in', '/sign-up'])('the form to %s answers 503, and says when to come again', async (action) => {
    const fields = { ...hiddenFields(stranger.html, action), email: 'someone@example.com', password: PASSWORD };
    const page = await stranger.visitor.post(action, fields);
    expect(page.status).toBe(503);
    expect(Number(page.headers['retry-after'])).toBeGreaterThan(0);
  });

  test('the process is alive and not ready', async () => {
    expect(await statusOf(`${world.url}/livez`)).toBe(200);
    const response = await fetch(`${world.url}/readyz`);
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ checks: { database: 'failed' } });
    expect(app.hasEnded()).toBe(false);
  });

  test('it recovers by itself once Postgres is back', async () => {
    await postgres.restart();

    await isReady(app, world.url);
    expect(app.hasEnded()).toBe(false);
  });

  test('the code that was turned away is exchanged when it comes again', async () => {
    const response = await fetch(`${world.url}/ring/token`, { method: 'POST', body: new URLSearchParams({ code }) });

    expect(response.status).toBe(200);
    expect(await requestsTo('/oauth/token', codeOwner)).toHaveLength(1);
  });

  test('the user who waited at the button is still signed in, and links', async () => {
    await waiting.visitor.open('/ring/link');
    await waiting.visitor.submit('/ring/link');

    expect(waiting.visitor.heading).toBe('Your Ring account is linked');
  });

  test('the interrupted link is completed by the queue, once', async () => {
    const { ringUser } = interrupted;
    await until('the link is completed', async () => {
      const links = await world.sql<Pick<Tables['account_links'], 'status'>>(
        'SELECT status FROM account_links WHERE account_id = $1',
        [ringUser.account_id],
      );
      return links.length === 1 && links[0]?.status === 'COMPLETED';
    });
    expect(await world.ring.integrationOf(ringUser)).toMatchObject({ status: 'completed' });
    const effects = (await requestsOf(ringUser, 'POST')).filter(({ effect_status }) => effect_status === 200);
    expect(effects).toHaveLength(1);
  });
});

describe('when Postgres restarts while Ring answers the exchange of a code', () => {
  test('the token pair, which exists nowhere else, is stored all the same', async () => {
    const ringUser = await world.ring.createUser();
    const { code } = await world.ring.issueCode(ringUser);
    await world.ring.setFaults([hold('token')]);
    const answer = fetch(`${world.url}/ring/token`, { method: 'POST', body: new URLSearchParams({ code }) });
    await until('Ring has the code', async () => (await requestsTo('/oauth/token', ringUser)).length === 1);
    await postgres.stop();
    await world.ring.release();
    await until('Ring has answered', async () => {
      const [exchange] = await requestsTo('/oauth/token', ringUser);
      return typeof exchange?.status === 'number';
    });
    await postgres.restart();

    expect((await answer).status).toBe(200);
    await until('the pair is unclaimed', async () => (await tokenStatusOf(ringUser)) === 'UNCLAIMED');
  });
});

interface Arrival {
  ringUser: RingUser;
  visitor: Visitor;
}

const hold = (endpoint: Fault['endpoint']): Fault => ({ endpoint, when: 'after', fault: { kind: 'hold' }, times: 1 });

/** A user who installed the app, signed up, and is at the button that links. */
async function arriveAtTheButton(): Promise<Arrival> {
  const visitor = world.visitor();
  await visitor.open('/ring/home');
  await visitor.submit('/sign-up', { email: `user-${randomUUID()}@example.com`, password: PASSWORD });
  const ringUser = await world.ring.createUser();
  await world.ring.install(ringUser);
  await until('the pair is unclaimed', async () => (await tokenStatusOf(ringUser)) === 'UNCLAIMED');
  await visitor.open((await world.ring.linkUrl(ringUser)).url);
  return { ringUser, visitor };
}

async function linkAddress(): Promise<string> {
  const ringUser = await world.ring.createUser();
  await world.ring.issueCode(ringUser);
  return (await world.ring.linkUrl(ringUser)).url;
}

async function tokenStatusOf({ account_id }: RingUser): Promise<string | undefined> {
  const [token] = await world.sql<Pick<Tables['ring_tokens'], 'status'>>(
    'SELECT status FROM ring_tokens WHERE account_id = $1',
    [account_id],
  );
  return token?.status;
}

async function requestsTo(path: string, { account_id }: RingUser): Promise<RingRequest[]> {
  return (await world.ring.requests()).filter((request) => request.path === path && request.account_id === account_id);
}

async function requestsOf(ringUser: RingUser, method: string): Promise<RingRequest[]> {
  return (await requestsTo('/v1/accounts/me/app-integrations', ringUser)).filter(
    (request) => request.method === method,
  );
}
