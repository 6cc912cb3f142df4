import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import { send } from '../support/clients/http.js';
import { hiddenFields } from '../support/clients/visitor.js';
import { newEmail, PASSWORD, signedIn } from '../support/features/linking.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

const HOME = 'Your home';

async function atHome() {
  const visitor = world.visitor();
  await visitor.open('/ring/home');
  return visitor;
}

const usersWith = (email: string) => world.sql('SELECT 1 FROM users WHERE email = $1', [email]);

describe('creating an account', () => {
  test.each<[what: string, password: string]>([
    ['of 10 characters', 'ten chars!'],
    ['of 200 characters', 'p'.repeat(200)],
    ['beyond ASCII', 'пароль-密码-🔑🔑🔑'],
    ['with blanks at its ends', '  blanks count  '],
  ])('takes a password %s, which then signs in', async (_what, password) => {
    const email = newEmail();
    const visitor = await atHome();
    await visitor.submit('/sign-up', { email, password });
    expect(visitor.heading).toBe(HOME);
    await visitor.submit('/sign-out');

    await visitor.submit('/sign-in', { email, password });

    expect(visitor.heading).toBe(HOME);
    expect(visitor.page.text).toContain(email);
  });

  test.each<[what: string, password: string, complaint: string]>([
    ['none', '', 'at least 10 characters'],
    ['of 9 characters', 'nine char', 'at least 10 characters'],
    ['of 201 characters', 'p'.repeat(201), 'at most 200 characters'],
    ['of 1,001 characters', 'p'.repeat(1_001), 'at most 200 characters'],
  ])('says what is wrong with a password: %s', async (_what, password, complaint) => {
    const email = newEmail();
    const visitor = await atHome();

    await visitor.submit('/sign-up', { email, password });

    expect(visitor.page.status).toBe(400);
    expect(visitor.page.text).toContain(complaint);
    expect(visitor.page.text).toContain(`value="${email}"`);
    expect(await usersWith(email)).toEqual([]);
  });

  test.each([
    '',
    'nobody',
    '@example.com',
    'a@',
    'a b@example.com',
    'a@b@example.com',
    'a@example.com\u0000',
    'a\n@example.com',
  ])('refuses the e-mail %j, with words that help', async (email) => {
    const visitor = await atHome();

    await visitor.submit('/sign-up', { email, password: PASSWORD });

    expect(visitor.page.status).toBe(400);
    expect(visitor.page.text).toContain('Enter an email address like name@example.com.');
  });

  test.each(['tom&jerry@example.com', "o'hara@example.com", 'user/dept=sales!@example.com'])(
    'takes what a browser takes for an e-mail address: %s',
    async (email) => {
      const visitor = await atHome();

      await visitor.submit('/sign-up', { email, password: PASSWORD });

      expect(visitor.page.status).toBe(200);
      expect(visitor.heading).toBe(HOME);
    },
  );

  test('shows what was typed as text, not as markup', async () => {
    const visitor = await atHome();

    await visitor.submit('/sign-up', { email: '"><script>alert(1)</script>', password: PASSWORD });

    expect(visitor.page.status).toBe(400);
    expect(visitor.page.text).not.toContain('<script>alert');
  });

  test('never shows a password again', async () => {
    const visitor = await atHome();
    const password = 'seen-nowhere-again';

    await visitor.submit('/sign-up', { email: 'not an address', password });
    expect(visitor.page.text).not.toContain(password);
    await visitor.submit('/sign-in', { email: newEmail(), password });
    expect(visitor.page.text).not.toContain(password);
  });

  test('is one account for all spellings of an e-mail', async () => {
    const email = newEmail('one.account');
    const visitor = await atHome();
    await visitor.submit('/sign-up', { email: `  ${email.toUpperCase()} `, password: PASSWORD });
    expect(visitor.heading).toBe(HOME);
    const second = await atHome();

    await second.submit('/sign-up', { email, password: 'another password' });
    expect(second.page.status).toBe(409);
    expect(second.page.text).toContain('already an account with this email address');

    await second.submit('/sign-in', { email: ` ${email.replace('one', 'ONE')}`, password: PASSWORD });
    expect(second.heading).toBe(HOME);
    expect(await usersWith(email)).toHaveLength(1);
  });

  test('of the same e-mail five times at once makes one account', async () => {
    const email = newEmail();
    const visitors = await Promise.all(Array.from({ length: 5 }, atHome));

    await Promise.all(
      visitors.map((visitor, at) => visitor.submit('/sign-up', { email, password: `${PASSWORD} ${at}` })),
    );

    expect(visitors.map(({ page }) => page.status).sort()).toEqual([200, 409, 409, 409, 409]);
    expect(await usersWith(email)).toHaveLength(1);
  });

  test('leaves a hash by argon2id in the database, and nothing of the password', async () => {
    const email = newEmail();
    await signedIn(world, email);

    const [user] = await world.sql<Pick<Tables['users'], 'password_hash'> & { whole: string }>(
      'SELECT password_hash, users::text AS whole FROM users WHERE email = $1',
      [email],
    );

    expect(user?.password_hash).toMatch(/^\$argon2id\$/);
    expect(user?.whole).not.toContain(PASSWORD);
  });
});

describe('signing in', () => {
  test('answers an unknown e-mail and a wrong password with the same page and status', async () => {
    const email = newEmail('known');
    const unknown = newEmail('known');
    await signedIn(world, email);
    const page = await send(world.url, '/ring/home');
    const signIn = (address: string) =>
      send(world.url, '/sign-in', {
        cookie: page.cookie,
        form: { ...hiddenFields(page.text, '/sign-in'), email: address, password: 'a wrong password' },
      });

    const [ofUnknown, ofKnown] = [await signIn(unknown), await signIn(email)];

    expect(ofUnknown.status).toBe(401);
    expect(ofKnown.status).toBe(401);
    expect(ofUnknown.text.replaceAll(unknown, email)).toBe(ofKnown.text);
    expect(ofUnknown.text).toContain('The email address or the password is not right');
    expect([...ofUnknown.headers.keys()]).toEqual([...ofKnown.headers.keys()]);
  });

  test('costs as much work for an unknown e-mail as for a wrong password', async () => {
    // A hash outweighs the rest of a request only at a cost like that of production.
    const costly = await startWorld({ hashCost: { memoryCost: 19_456, timeCost: 4, parallelism: 1 } });
    try {
      const email = newEmail();
      await signedIn(costly, email);
      const visitor = costly.visitor();
      await visitor.open('/ring/home');
      // Processor time is measured, because a hash costs the same no matter what else this machine does.
      const work = async (address: () => string) => {
        const before = process.cpuUsage();
        for (let times = 0; times < 10; times += 1) {
          await visitor.submit('/sign-in', { email: address(), password: 'a wrong password' });
        }
        const { user, system } = process.cpuUsage(before);
        return user + system;
      };
      await work(newEmail);

      const ofKnown = await work(() => email);
      const ofUnknown = await work(newEmail);

      expect(ofUnknown).toBeGreaterThan(ofKnown / 2);
    } finally {
      await costly.stop();
    }
  });

  test.each<[what: string, fields: Record<string, string>]>([
    ['no password', { password: '' }],
    ['no e-mail', { email: '' }],
    ['another password', { password: `${PASSWORD} ` }],
    ['the password in other case', { password: PASSWORD.toUpperCase() }],
    ['a NUL in the e-mail', { email: '\u0000' }],
  ])('fails with %s', async (_what, fields) => {
    const email = newEmail();
    await signedIn(world, email);
    const visitor = await atHome();

    await visitor.submit('/sign-in', { email, password: PASSWORD, ...fields });

    expect(visitor.page.status).toBe(401);
    await visitor.open('/ring/home');
    expect(visitor.page.text).toContain('action="/sign-in"');
  });

  test('takes e-mail and password from the form alone, not from the address', async () => {
    const email = newEmail();
    await signedIn(world, email);
    const visitor = await atHome();
    const form = hiddenFields(visitor.page.text, '/sign-in');

    await visitor.post(`/sign-in?${new URLSearchParams({ email, password: PASSWORD }).toString()}`, form);

    expect(visitor.page.status).toBe(401);
    await visitor.open('/ring/home');
    expect(visitor.page.text).toContain('action="/sign-in"');
  });

  test('with another account replaces the one that was signed in', async () => {
    const [first, second] = [newEmail('first'), newEmail('second')];
    await signedIn(world, second);
    const visitor = await signedIn(world, first);
    const { _csrf = '' } = hiddenFields(visitor.page.text, '/sign-out');

    await visitor.post('/sign-in', { _csrf, email: second, password: PASSWORD });

    expect(visitor.page.text).toContain(second);
    expect(visitor.page.text).not.toContain(first);
  });
});

describe('a session', () => {
  test('ends at sign-out: its old cookie opens nothing any more', async () => {
    const { cookie, email } = await session();
    const home = await send(world.url, '/ring/home', { cookie });
    expect(home.text).toContain(email);

    const signOut = await send(world.url, '/sign-out', { cookie, form: hiddenFields(home.text, '/sign-out') });

    expect(signOut.status).toBe(303);
    for (const kept of [cookie, signOut.cookie]) {
      const page = await send(world.url, '/ring/home', { cookie: kept });
      expect(page.text).not.toContain(email);
      expect(page.text).toContain('action="/sign-in"');
    }
  });

  test('of one browser goes on when another browser of the same user signs out', async () => {
    const { cookie, email } = await session();
    const other = await atHome();
    await other.submit('/sign-in', { email, password: PASSWORD });

    await other.submit('/sign-out');

    expect((await send(world.url, '/ring/home', { cookie })).text).toContain(email);
  });

  test('of a deleted user is signed out, on every page', async () => {
    const { cookie, email } = await session();
    const home = await send(world.url, '/ring/home', { cookie });
    await world.sql('DELETE FROM users WHERE email = $1', [email]);

    const page = await send(world.url, '/ring/home', { cookie });
    expect(page.status).toBe(200);
    expect(page.text).not.toContain(email);
    expect(page.text).toContain('action="/sign-in"');
    const { _csrf = '' } = hiddenFields(home.text, '/sign-out');
    const click = await send(world.url, '/ring/link', { cookie, form: { _csrf } });
    expect(click.status).toBeLessThan(500);
  });

  test('can not be made up: a cookie without our signature opens nothing', async () => {
    const { cookie, email } = await session();
    const [sid] = decodeURIComponent(cookie).replace('session=s:', '').split('.');

    for (const forged of [
      `session=${sid}`,
      `session=s%3A${sid}.AAAA`,
      cookie.slice(0, -2),
      `session=${'x'.repeat(3_000)}`,
    ]) {
      const page = await send(world.url, '/ring/home', { cookie: forged });
      expect(page.status).toBe(200);
      expect(page.text).not.toContain(email);
    }
  });

  test('is good on every instance', async () => {
    const { cookie, email } = await session();
    const other = await world.startAnother();

    const page = await send(`http://localhost:${other.port}`, '/ring/home', { cookie });

    expect(page.text).toContain(email);
  });

  async function session() {
    const email = newEmail();
    const page = await send(world.url, '/ring/home');
    const form = { ...hiddenFields(page.text, '/sign-up'), email, password: PASSWORD };
    const { cookie = '' } = await send(world.url, '/sign-up', { cookie: page.cookie, form });
    expect(cookie).not.toBe('');
    expect(cookie).not.toBe(page.cookie);
    return { cookie, email };
  }
});
