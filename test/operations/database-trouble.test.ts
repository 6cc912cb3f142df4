import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { send } from '../support/clients/http.js';
import { deliver, newEvent } from '../support/clients/webhooks.js';
import { hiddenFields, type Visitor } from '../support/clients/visitor.js';
import { untilLocksAwaited } from '../support/waiting/locks.js';
import { until } from '../support/waiting/until.js';
import { startNetwork } from '../support/worlds/network.js';
import { HMAC_KEY, startWorld, type World } from '../support/worlds/world.js';

const PASSWORD = 'correct horse battery staple';

let world: World;
/** A transaction that is in the way. */
let other: pg.Client;

beforeAll(async () => {
  world = await startWorld();
});
beforeEach(async () => {
  other = new pg.Client({ connectionString: world.databaseUrl });
  await other.connect();
});
afterEach(() => other.end());
afterAll(() => world.stop());

describe('when the database is slow to keep a session', () => {
  test('the redirect to the clean address waits until the pending redirect is kept', async () => {
    const ringUser = await world.ring.createUser();
    await world.ring.install(ringUser);
    const { url } = await world.ring.linkUrl(ringUser);
    await other.query('BEGIN; LOCK TABLE sessions IN SHARE MODE');

    let isAnswered = false;
    const answer = fetch(url, { redirect: 'manual' }).finally(() => (isAnswered = true));
    await untilLocksAwaited(world, 1);
    // Browsers follow a redirect as soon as they have seen its head. One that was sent by now comes before this page.
    await send(world.url, '/livez');
    const wasAnswered = isAnswered;
    await other.query('ROLLBACK');

    expect(wasAnswered).toBe(false);
    expect((await answer).status).toBe(303);
  });

  test('signing out to use another account waits until the pending redirect is kept', async () => {
    const visitor = await signUp();
    const ringUser = await world.ring.createUser();
    await world.ring.install(ringUser);
    await visitor.open((await world.ring.linkUrl(ringUser)).url);
    await visitor.submit('/sign-out');

    expect(visitor.page.text).toContain('action="/sign-in"');
    await visitor.submit('/sign-up', { email: `user-${randomUUID()}@example.com`, password: PASSWORD });
    expect(visitor.heading).toBe('Your Ring account is linked');
  });
});

describe('when pages hold all the connections that they can get', () => {
  test('Ring’s callback and webhooks are answered all the same', async () => {
    const ringUser = await world.ring.createUser();
    const { code } = await world.ring.issueCode(ringUser);
    const visitor = await signUp();
    const { cookie } = visitor;
    const second = new pg.Client({ connectionString: world.databaseUrl });
    await second.connect();
    try {
      await other.query('BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE');
      const pages = Array.from({ length: 15 }, () => send(world.url, '/ring/home', { cookie }));
      await untilLocksAwaited(world, 10);
      await second.query('BEGIN; LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE');
      pages.push(...Array.from({ length: 15 }, () => send(world.url, '/ring/home')));
      await untilLocksAwaited(world, 20);

      const callback = await fetch(`${world.url}/ring/token`, { method: 'POST', body: new URLSearchParams({ code }) });
      const webhook = await deliver(world.url, JSON.stringify(newEvent()), { key: HMAC_KEY });

      expect([callback.status, webhook.status]).toEqual([200, 200]);
      await other.query('ROLLBACK');
      await second.query('ROLLBACK');
      await Promise.all(pages);
    } finally {
      await second.end();
    }
  });
});

describe('when the database breaks a statement off', () => {
  test.each(['/sign-in', '/sign-up'])(
    '%s answers 503, and neither e-mail nor password nor hash gets into the log',
    async (action) => {
      const email = `private-${randomUUID()}@example.com`;
      const visitor = world.visitor();
      await visitor.open('/ring/home');
      const fields = { ...hiddenFields(visitor.page.text, action), email, password: PASSWORD };
      await other.query('BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE');

      const answer = visitor.post(action, fields);
      await until('the statement waits and is broken off', async () => {
        const ended = await world.sql(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%users%'`,
        );
        return ended.length === 1;
      });
      expect((await answer).status).toBe(503);

      const failure = await until('the failure is in the log', () =>
        Promise.resolve(world.log.find((line) => line.includes(`"path":"${action}"`) && line.includes('"status":503'))),
      );
      expect(failure).not.toContain(email);
      expect(world.log.join('')).not.toContain(email);
      expect(world.log.join('')).not.toMatch(/\$argon2/);
    },
  );
});

describe('when the network swallows everything to and from the database', () => {
  test('pages and callback answer 503 rather than never, and 200 once the network is back', async () => {
    const network = await startNetwork(world.databaseUrl);
    const remote = await startWorld({ databaseUrl: network.databaseUrl });
    try {
      const visitor = remote.visitor();
      await visitor.open('/ring/home');
      const statuses: number[] = [];

      network.freeze();
      const answers = [
        ...Array.from({ length: 10 }, () => visitor.open('/ring/home')),
        remote.visitor().post('/ring/token', { code: 'a-code' }),
        remote.visitor().open('/readyz'),
      ];
      for (const answer of answers) answer.then(({ status }) => statuses.push(status), String);
      await until('all are answered', () => Promise.resolve(statuses.length === answers.length));
      network.thaw();

      expect(new Set(statuses)).toEqual(new Set([503]));
      await until('the home page is back', async () => (await visitor.open('/ring/home')).status === 200);
    } finally {
      network.thaw();
      await remote.stop();
      await network.close();
    }
  });
});

async function signUp(): Promise<Visitor> {
  const visitor = world.visitor();
  await visitor.open('/ring/home');
  await visitor.submit('/sign-up', { email: `user-${randomUUID()}@example.com`, password: PASSWORD });
  return visitor;
}
