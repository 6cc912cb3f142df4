import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import { type Answer, send } from '../support/clients/http.js';
import { hiddenFields, type Visitor } from '../support/clients/visitor.js';
import { newEmail, PASSWORD, signedIn } from '../support/features/linking.js';
import { deleteAccount, signIn, submitAccountForm } from '../support/features/my-data.js';
import { startWorld, type World } from '../support/worlds/world.js';

/** The number of guesses in a quarter of an hour: for one account from one address, from everywhere, in a known browser. */
const GUESSES = 10;
const GUESSES_FROM_EVERYWHERE = 100;
const GUESSES_OF_KNOWN = 20;
/** The number of sign-ins from one address in a quarter of an hour, and of visits in a minute. */
const SIGN_INS = 60;
const VISITS = 120;
const SIGN_UPS_PER_HOUR = 20;
const QUARTER_HOUR_SECONDS = 15 * 60;

let world: World;
let page: Answer;
beforeAll(async () => {
  world = await startWorld({ environment: { RATE_LIMIT_SCALE: '1', TRUST_PROXY: '1' } });
});
beforeEach(async () => {
  page = await send(world.url, '/ring/home');
  await world.sql('DELETE FROM rate_limits');
});
afterAll(() => world.stop());

interface Attempt {
  email: string;
  password?: string;
  address?: string;
  origin?: string;
  query?: string;
}

let addresses = 0;
let port = 40_000;
/** An address that has not been used before, in a /48 of its own. */
const newAddress = () => `2001:db8:${(addresses += 1).toString(16)}:1::1`;

function attempt(action: string, { email, password, address, origin, query }: Attempt): Promise<Answer> {
  return send(origin ?? world.url, action + (query ?? ''), {
    cookie: page.cookie,
    headers: { 'x-forwarded-for': address ?? newAddress() },
    form: { ...hiddenFields(page.text, '/sign-in'), email, password: password ?? 'a wrong password' },
  });
}

const guess = (what: Attempt) => attempt('/sign-in', what);

const times = <Value>(count: number, one: () => Promise<Value>) => Promise.all(Array.from({ length: count }, one));

async function newAccount(): Promise<string> {
  const email = newEmail();
  expect((await attempt('/sign-up', { email, password: PASSWORD })).status).toBe(303);
  // Signing up has ended the session of the earlier page.
  page = await send(world.url, '/ring/home');
  return email;
}

function expectTooMany(answer: Answer, withinSeconds: number): void {
  expect(answer.status).toBe(429);
  expect(answer.heading).toBe('Too many attempts');
  const retryAfter = answer.headers.get('retry-after');
  expect(retryAfter).toMatch(/^[1-9]\d*$/);
  expect(Number(retryAfter)).toBeLessThanOrEqual(withinSeconds);
}

/** Skips this much time for the throttles. */
const letPass = (seconds: number) => world.sql('UPDATE rate_limits SET expire = expire - $1', [seconds * 1_000]);

describe('guessing the password of one account', () => {
  test('ends after ten guesses from one address, even with the right one', async () => {
    const email = await newAccount();
    const address = newAddress();
    for (let count = 0; count < GUESSES; count += 1) expect((await guess({ email, address })).status).toBe(401);

    expectTooMany(await guess({ email, address }), QUARTER_HOUR_SECONDS);
    expectTooMany(await guess({ email, address, password: PASSWORD }), QUARTER_HOUR_SECONDS);
  });

  test('ends after a hundred guesses from everywhere', async () => {
    const email = await newAccount();
    const answers = await times(GUESSES_FROM_EVERYWHERE, () => guess({ email }));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([401]));

    expectTooMany(await guess({ email, password: PASSWORD }), QUARTER_HOUR_SECONDS);
  });

  test('from one address uses up nothing of what the account has elsewhere', async () => {
    const email = await newAccount();
    const address = newAddress();
    await times(GUESSES_FROM_EVERYWHERE + GUESSES, () => guess({ email, address: `[${address}]:${(port += 1)}` }));

    expect((await guess({ email, password: PASSWORD })).status).toBe(303);
  });

  test('can not be widened by another spelling of the e-mail', async () => {
    const email = await newAccount();
    const address = newAddress();
    await times(GUESSES, () => guess({ email, address }));

    expectTooMany(await guess({ email: ` ${email.toUpperCase()}\t`, address }), QUARTER_HOUR_SECONDS);
  });

  test.each([
    ['IPv4', ['203.0.113.8', '203.0.113.8:40001', '203.0.113.8:40002', '::ffff:203.0.113.8', '::FFFF:cb00:7108']],
    [
      'IPv6',
      ['2001:db8:99:1::a', '2001:DB8:99:1::A', '[2001:db8:99:1::a]:443', '2001:db8:99:1::b', '2001:db8:99:1::a%1'],
    ],
  ])(
    'can not be widened by another spelling of the address, or by another one of its network: %s',
    async (_kind, spellings) => {
      const email = await newAccount();
      for (let count = 0; count < GUESSES; count += 1) {
        const address = spellings[count % spellings.length] ?? '';
        expect((await guess({ email, address })).status).toBe(401);
      }

      for (const address of spellings) expectTooMany(await guess({ email, address }), QUARTER_HOUR_SECONDS);
    },
  );

  test('can not be widened by sending it in the address instead of the form', async () => {
    const email = await newAccount();
    const address = newAddress();
    await times(GUESSES, () => guess({ email, address }));

    const query = `?${new URLSearchParams({ email, password: PASSWORD }).toString()}`;
    const answer = await send(world.url, `/sign-in${query}`, {
      cookie: page.cookie,
      headers: { 'x-forwarded-for': address },
      form: hiddenFields(page.text, '/sign-in'),
    });

    expect([401, 429]).toContain(answer.status);
  });

  test('can not be widened by spaces around the e-mail, however many', async () => {
    const email = await newAccount();
    const address = newAddress();
    await times(GUESSES, () => guess({ email, address }));

    for (const spaces of [1, 1_001]) {
      const answer = await guess({ email: email + ' '.repeat(spaces), address, password: PASSWORD });
      expect([401, 429]).toContain(answer.status);
    }
  });

  test('is possible again when the time has passed', async () => {
    const email = await newAccount();
    const address = newAddress();
    await times(GUESSES + 1, () => guess({ email, address }));
    const retryAfter = Number((await guess({ email, address })).headers.get('retry-after'));

    await letPass(retryAfter);

    expect((await guess({ email, address, password: PASSWORD })).status).toBe(303);
  });

  test('is possible again at once when a machine whose clock is far ahead has counted', async () => {
    const email = await newAccount();
    const address = newAddress();
    await times(GUESSES + 1, () => guess({ email, address }));
    await letPass(-400 * 24 * 60 * 60);

    expect((await guess({ email, address, password: PASSWORD })).status).toBe(303);
  });

  test('harms no other account', async () => {
    const [email, other] = [await newAccount(), await newAccount()];
    const address = newAddress();
    await times(GUESSES + 1, () => guess({ email, address }));

    expect((await guess({ email: other, address, password: PASSWORD })).status).toBe(303);
  });

  test('starts from nothing after the right password', async () => {
    const email = await newAccount();
    const address = newAddress();
    await times(GUESSES - 1, () => guess({ email, address }));
    expect((await guess({ email, address, password: PASSWORD })).status).toBe(303);
    page = await send(world.url, '/ring/home');

    const answers = await times(GUESSES, () => guess({ email, address }));

    expect(answers.map(({ status }) => status)).toEqual(Array(GUESSES).fill(401));
  });

  test('counts an e-mail without an account in the same way', async () => {
    const email = newEmail();
    const address = newAddress();
    await times(GUESSES, () => guess({ email, address }));

    expectTooMany(await guess({ email, address }), QUARTER_HOUR_SECONDS);
  });

  test('thirty times at once on two instances still gives ten guesses', async () => {
    const email = await newAccount();
    const address = newAddress();
    const other = await world.startAnother();
    const origins = [world.url, `http://localhost:${other.port}`];

    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, at) => guess({ email, address, origin: origins[at % 2] ?? '' })),
    );

    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 401)).toHaveLength(GUESSES);
    expect(statuses.filter((status) => status === 429)).toHaveLength(20);
  });
});

describe('the owner of an account at which strangers guess', () => {
  /** An owner in their browser, which has signed in before, and is signed in. */
  async function owner(): Promise<{ email: string; visitor: Visitor }> {
    const email = newEmail();
    return { email, visitor: await signedIn(world, email) };
  }

  /** Strangers use up what the account has, from the owner's own address and from everywhere. */
  async function besiege(email: string): Promise<void> {
    page = await send(world.url, '/ring/home');
    const cookie = page.cookie;
    const form = { ...hiddenFields(page.text, '/sign-in'), email, password: 'a wrong password' };
    // Without the header, from where the owner's browser comes, too.
    await times(GUESSES + 1, () => send(world.url, '/sign-in', { cookie, form }));
    await times(GUESSES_FROM_EVERYWHERE, () => guess({ email }));
    expectTooMany(await guess({ email }), QUARTER_HOUR_SECONDS);
    expectTooMany(await send(world.url, '/sign-in', { cookie, form }), QUARTER_HOUR_SECONDS);
  }

  test('signs in from home after ten wrong ones from elsewhere', async () => {
    const { email } = await owner();
    const elsewhere = newAddress();
    await times(GUESSES + 5, () => guess({ email, address: elsewhere }));

    expect((await guess({ email, password: PASSWORD, address: newAddress() })).status).toBe(303);
  });

  test('signs in all the same in a browser that has signed in before', async () => {
    const { email, visitor } = await owner();
    await visitor.open('/ring/home');
    await visitor.submit('/sign-out');
    await besiege(email);

    await visitor.open('/ring/home');
    await visitor.submit('/sign-in', { email, password: PASSWORD });

    expect(visitor.page.status).toBe(200);
    expect(visitor.page.text).toContain(email);
  });

  test('signs in there although strangers at the same address have used up its sign-ins', async () => {
    const { email, visitor } = await owner();
    await visitor.open('/ring/home');
    await visitor.submit('/sign-out');
    page = await send(world.url, '/ring/home');
    const { cookie, text } = page;
    const flood = () =>
      send(world.url, '/sign-in', {
        cookie,
        form: { ...hiddenFields(text, '/sign-in'), email: newEmail(), password: 'a wrong password' },
      });
    await times(SIGN_INS, flood);
    expectTooMany(await flood(), QUARTER_HOUR_SECONDS);

    await visitor.open('/ring/home');
    await visitor.submit('/sign-in', { email, password: PASSWORD });

    expect(visitor.page.text).toContain(email);
  });

  test('changes the password all the same while signed in', async () => {
    const { email, visitor } = await owner();
    await besiege(email);

    await submitAccountForm(visitor, 'password', { new: 'an entirely different one' });

    expect(visitor.page.status).toBe(200);
    expect(visitor.page.text).toContain('Your password is changed');
  });

  test('sees the pages all the same while strangers at the same address flood them', async () => {
    const { visitor } = await owner();
    await times(VISITS, () => send(world.url, '/ring/home'));
    expectTooMany(await send(world.url, '/ring/home'), 60);

    expect((await visitor.open('/ring/home')).status).toBe(200);
    expect((await visitor.open('/account')).status).toBe(200);
  });
});

describe('a browser that has signed in before', () => {
  /** The cookie that says so, of a browser that has signed in with this address and is signed out again. */
  async function knownBrowser(
    email: string,
    begin: (of: World, email: string) => Promise<Visitor> = signedIn,
  ): Promise<string> {
    const visitor = await begin(world, email);
    await visitor.open('/ring/home');
    await visitor.submit('/sign-out');
    const cookie = visitor.cookies.find(({ name }) => name === 'known-browser');
    if (cookie === undefined) throw new Error('there is no such cookie');
    return cookie.value;
  }

  const guessWith = (email: string, known: string, password = 'a wrong password', address = newAddress()) =>
    send(world.url, '/sign-in', {
      cookie: `${page.cookie ?? ''}; known-browser=${known}`,
      headers: { 'x-forwarded-for': address },
      form: { ...hiddenFields(page.text, '/sign-in'), email, password },
    });

  test('has twenty guesses of its own, from wherever they come, and then counts like any other', async () => {
    const email = newEmail();
    const known = await knownBrowser(email);
    page = await send(world.url, '/ring/home');
    const address = newAddress();
    await times(GUESSES, () => guess({ email, address }));
    const fromThere = (password?: string) => guessWith(email, known, password, address);
    for (let count = 0; count < GUESSES_OF_KNOWN; count += 1) expect((await fromThere()).status).toBe(401);

    expectTooMany(await fromThere(PASSWORD), QUARTER_HOUR_SECONDS);
    expect((await guessWith(email, known, PASSWORD)).status).toBe(303);
  });

  test('is one for the accounts that have signed in there, and for no other', async () => {
    const [email, other] = [newEmail(), newEmail()];
    await signedIn(world, other);
    const known = await knownBrowser(email);
    page = await send(world.url, '/ring/home');
    await times(GUESSES_FROM_EVERYWHERE, () => guess({ email: other }));

    expectTooMany(await guessWith(other, known, PASSWORD), QUARTER_HOUR_SECONDS);
  });

  test('remembers several accounts', async () => {
    const [email, other] = [newEmail(), newEmail()];
    const visitor = await signedIn(world, email);
    await visitor.open('/ring/home');
    await visitor.submit('/sign-out');
    await visitor.submit('/sign-up', { email: other, password: PASSWORD });
    await visitor.open('/ring/home');
    await visitor.submit('/sign-out');
    page = await send(world.url, '/ring/home');
    for (const one of [email, other]) await times(GUESSES_FROM_EVERYWHERE, () => guess({ email: one }));

    for (const one of [email, other]) {
      await visitor.open('/ring/home');
      await visitor.submit('/sign-in', { email: one, password: PASSWORD });
      expect(visitor.page.text).toContain(one);
      await visitor.submit('/sign-out');
    }
  });

  test('can not be made up, and tells nobody which account it is', async () => {
    const email = newEmail();
    const known = await knownBrowser(email);
    page = await send(world.url, '/ring/home');
    await times(GUESSES_FROM_EVERYWHERE, () => guess({ email }));

    expect(known).toMatch(/^[\w-]{43}$/);
    const entry = Buffer.from(known, 'base64url');
    const flipped = (at: number) => {
      const copy = Buffer.from(entry);
      copy.writeUInt8(copy.readUInt8(at) ^ 1, at);
      return copy.toString('base64url');
    };
    const forged = ['', '.', '..', known.slice(0, 22), known.slice(0, -3), flipped(0), flipped(31), 'x'.repeat(3_000)];
    for (const value of forged) expectTooMany(await guessWith(email, value, PASSWORD), QUARTER_HOUR_SECONDS);
    expect((await guessWith(email, known, PASSWORD)).status).toBe(303);
  });

  test('is shown the form although strangers at the same address flood it', async () => {
    const known = await knownBrowser(newEmail());
    await times(VISITS, () => send(world.url, '/ring/home'));
    expectTooMany(await send(world.url, '/ring/home'), 60);
    expectTooMany(await send(world.url, '/ring/home', { cookie: `known-browser=${known}x` }), 60);

    const shown = await send(world.url, '/ring/home', { cookie: `known-browser=${known}` });

    expect(shown.status).toBe(200);
    expect(shown.text).toContain('action="/sign-in"');
  });

  test('is the same for an account wherever it signs in: signing in often makes no more of them', async () => {
    const email = newEmail();
    const [known, again] = [await knownBrowser(email), await knownBrowser(email, signIn)];
    expect(again).toBe(known);
  });

  test('forgets an account that is deleted', async () => {
    const visitor = await signedIn(world);
    await visitor.open('/account');
    expect(visitor.cookies.map(({ name }) => name)).toContain('known-browser');

    await deleteAccount(visitor);

    expect(visitor.cookies.map(({ name }) => name)).not.toContain('known-browser');
  });

  test('keeps that in a cookie that no script reads and that no other site sends with a form', async () => {
    const { sessionCookie } = await signedIn(world);
    const { headers } = await send(world.url, '/ring/home', { cookie: `session=${sessionCookie}` });

    const set = headers.getSetCookie().find((one) => one.startsWith('known-browser=')) ?? '';
    expect(set).toMatch(/; Path=\/;.*HttpOnly; SameSite=Lax/);
  });
});

describe('signing in from one address', () => {
  test('ends after sixty attempts, whatever the accounts, and leaves other addresses alone', async () => {
    const address = newAddress();
    const answers = await times(SIGN_INS, () => guess({ email: newEmail(), address }));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([401]));

    expectTooMany(await guess({ email: newEmail(), address }), QUARTER_HOUR_SECONDS);
    expect((await guess({ email: newEmail() })).status).toBe(401);

    await letPass(QUARTER_HOUR_SECONDS);
    expect((await guess({ email: newEmail(), address })).status).toBe(401);
  });

  test('is counted by what the trusted proxy says, not by what the client claims', async () => {
    const address = newAddress();
    const answers = await times(SIGN_INS + 1, () =>
      guess({ email: newEmail(), address: `${newAddress()}, ${address}` }),
    );

    expect(answers.filter(({ status }) => status === 429)).toHaveLength(1);
  });
});

describe('creating accounts from one address', () => {
  test('ends after twenty attempts in an hour', async () => {
    const address = newAddress();
    const signUp = () => attempt('/sign-up', { email: 'not an address', address });
    const answers = await times(SIGN_UPS_PER_HOUR, signUp);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([400]));

    expectTooMany(await signUp(), 60 * 60);
  });

  test('ends for a /48 after ten times as many, though each comes from another /64', async () => {
    const signUp = (site: string) =>
      attempt('/sign-up', { email: 'not an address', address: `${site}:${(addresses += 1).toString(16)}::1` });
    const answers = await times(10 * SIGN_UPS_PER_HOUR, () => signUp('2001:db8:aaaa'));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([400]));

    expectTooMany(await signUp('2001:db8:aaaa'), 60 * 60);
    expect((await signUp('2001:db8:bbbb')).status).toBe(400);
  });
});

describe('a throttle', () => {
  test('keeps neither e-mails nor addresses', async () => {
    const address = newAddress();
    const email = newEmail();
    await guess({ email, address });

    const counters = await world.sql<Pick<Tables['rate_limits'], 'key'>>('SELECT key FROM rate_limits');

    expect(counters.length).toBeGreaterThan(1);
    expect(counters.map(({ key }) => key).join('\n')).not.toContain(address);
    expect(counters.map(({ key }) => key).join('\n')).not.toContain(email.split('@')[0]);
  });
});
