import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { send } from '../support/clients/http.js';
import { hiddenFields } from '../support/clients/visitor.js';
import {
  installed,
  linkPath,
  linksOf,
  newEmail,
  pairStatuses,
  PASSWORD,
  redirectOf,
} from '../support/features/linking.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

/** The ways in which a form of another site can carry a token. */
const FORGERIES: [what: string, forge: (otherToken: string) => [string, string][]][] = [
  ['no token', () => []],
  ['an empty token', () => [['_csrf', '']]],
  ['a made-up token', () => [['_csrf', 'f'.repeat(256)]]],
  ['the token of another session', (otherToken) => [['_csrf', otherToken]]],
  ['its token as a field of another name', (otherToken) => [['csrf', otherToken]]],
];

describe.each(FORGERIES)('a form with %s is refused, and nothing happens:', (_what, forge) => {
  test('no account is created', async () => {
    const { cookie } = await signedOut();
    const email = newEmail();

    await expectRefused('/sign-up', cookie, [
      ['email', email],
      ['password', PASSWORD],
    ]);

    expect(await world.sql('SELECT 1 FROM users WHERE email = $1', [email])).toEqual([]);
  });

  test('no user is signed in', async () => {
    const { email } = await signedIn();
    const { cookie } = await signedOut();

    await expectRefused('/sign-in', cookie, [
      ['email', email],
      ['password', PASSWORD],
    ]);

    expect((await send(world.url, '/ring/home', { cookie })).text).not.toContain(email);
  });

  test('no user is signed out', async () => {
    const { cookie, email } = await signedIn();

    await expectRefused('/sign-out', cookie, []);

    expect((await send(world.url, '/ring/home', { cookie })).text).toContain(email);
  });

  test('nothing is linked', async () => {
    const { cookie } = await signedIn();
    const ringUser = await installed(world);
    const { nonce, time } = await redirectOf(world, ringUser);
    await send(world.url, linkPath(nonce, time), { cookie });

    await expectRefused('/ring/link', cookie, []);

    expect(await linksOf(world, ringUser)).toEqual([]);
    expect(await pairStatuses(world, ringUser)).toEqual(['UNCLAIMED']);
  });

  async function expectRefused(action: string, cookie: string | undefined, fields: [string, string][]): Promise<void> {
    const other = await signedOut();
    for (const sent of [cookie, undefined]) {
      const answer = await send(world.url, action, { cookie: sent, form: [...forge(other.token), ...fields] });
      // A visitor who is not signed in can't be signed out or link anything. These forms lead to the page for that.
      if (sent === undefined && ['/sign-out', '/ring/link'].includes(action)) {
        expect([answer.status, answer.location]).toEqual([303, action === '/sign-out' ? '/ring/home' : '/ring/link']);
        continue;
      }
      expect(answer.status).toBe(403);
      expect(answer.heading).toBe('This page is out of date');
      expect(answer.text).toContain('What to do next');
    }
  }
});

test('a token in the query string or a header does not count', async () => {
  const { cookie, token } = await signedOut();
  const form = { email: newEmail(), password: PASSWORD };

  const inQuery = await send(world.url, `/sign-up?_csrf=${token}`, { cookie, form });
  const inHeader = await send(world.url, '/sign-up', { cookie, form, headers: { 'x-csrf-token': token } });
  const inJson = await send(world.url, '/sign-up', {
    cookie,
    body: JSON.stringify({ ...form, _csrf: token }),
    headers: { 'content-type': 'application/json' },
  });

  expect([inQuery.status, inHeader.status, inJson.status]).toEqual([403, 403, 403]);
});

test('a token from before signing in is worth nothing afterwards', async () => {
  const before = await signedOut();
  const form = { _csrf: before.token, email: newEmail(), password: PASSWORD };
  const { cookie } = await send(world.url, '/sign-up', { cookie: before.cookie, form });

  const answer = await send(world.url, '/sign-out', { cookie, form: { _csrf: before.token } });

  expect(answer.status).toBe(403);
});

async function signedOut() {
  const page = await send(world.url, '/ring/home');
  const { _csrf: token = '' } = hiddenFields(page.text, '/sign-in');
  expect(token).not.toBe('');
  return { cookie: page.cookie, token };
}

async function signedIn() {
  const email = newEmail();
  const { cookie, token } = await signedOut();
  const form = { _csrf: token, email, password: PASSWORD };
  const answer = await send(world.url, '/sign-up', { cookie, form });
  return { cookie: answer.cookie, email };
}
