import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import { type Answer, send } from '../support/clients/http.js';
import { hiddenFields } from '../support/clients/visitor.js';
import { newEmail, PASSWORD } from '../support/features/linking.js';
import { startWorld, type World } from '../support/worlds/world.js';

/** The number of guesses for one account, and of sign-ins from one address, in a quarter of an hour. */
const GUESSES = 10;
const SIGN_INS = 60;
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
/** An address that has not been used before. */
const newAddress = () => `2001:db8:0:${(addresses += 1).toString(16)}::1`;

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
  test('ends after ten guesses, from wherever they come, even with the right one', async () => {
    const email = await newAccount();
    for (let count = 0; count < GUESSES; count += 1) expect((await guess({ email })).status).toBe(401);

    expectTooMany(await guess({ email }), QUARTER_HOUR_SECONDS);
    expectTooMany(await guess({ email, password: PASSWORD }), QUARTER_HOUR_SECONDS);
  });

  test('can not be widened by another spelling of the e-mail', async () => {
    const email = await newAccount();
    await times(GUESSES, () => guess({ email }));

    expectTooMany(await guess({ email: ` ${email.toUpperCase()}\t` }), QUARTER_HOUR_SECONDS);
  });

  test('can not be widened by sending it in the address instead of the form', async () => {
    const email = await newAccount();
    await times(GUESSES, () => guess({ email }));

    const query = `?${new URLSearchParams({ email, password: PASSWORD }).toString()}`;
    const answer = await send(world.url, `/sign-in${query}`, {
      cookie: page.cookie,
      headers: { 'x-forwarded-for': newAddress() },
      form: hiddenFields(page.text, '/sign-in'),
    });

    expect([401, 429]).toContain(answer.status);
  });

  test('can not be widened by spaces around the e-mail, however many', async () => {
    const email = await newAccount();
    await times(GUESSES, () => guess({ email }));

    for (const spaces of [1, 1_001]) {
      const answer = await guess({ email: email + ' '.repeat(spaces), password: PASSWORD });
      expect([401, 429]).toContain(answer.status);
    }
  });

  test('is possible again when the time has passed', async () => {
    const email = await newAccount();
    await times(GUESSES + 1, () => guess({ email }));
    const retryAfter = Number((await guess({ email })).headers.get('retry-after'));

    await letPass(retryAfter);

    expect((await guess({ email, password: PASSWORD })).status).toBe(303);
  });

  test('harms no other account', async () => {
    const [email, other] = [await newAccount(), await newAccount()];
    await times(GUESSES + 1, () => guess({ email }));

    expect((await guess({ email: other, password: PASSWORD })).status).toBe(303);
  });

  test('starts from nothing after the right password', async () => {
    const email = await newAccount();
    await times(GUESSES - 1, () => guess({ email }));
    expect((await guess({ email, password: PASSWORD })).status).toBe(303);
    page = await send(world.url, '/ring/home');

    const answers = await times(GUESSES, () => guess({ email }));

    expect(answers.map(({ status }) => status)).toEqual(Array(GUESSES).fill(401));
  });

  test('counts an e-mail without an account in the same way', async () => {
    const email = newEmail();
    await times(GUESSES, () => guess({ email }));

    expectTooMany(await guess({ email }), QUARTER_HOUR_SECONDS);
  });

  test('thirty times at once on two instances still gives ten guesses', async () => {
    const email = await newAccount();
    const other = await world.startAnother();
    const origins = [world.url, `http://localhost:${other.port}`];

    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, at) => guess({ email, origin: origins[at % 2] ?? '' })),
    );

    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 401)).toHaveLength(GUESSES);
    expect(statuses.filter((status) => status === 429)).toHaveLength(20);
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
