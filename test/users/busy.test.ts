import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { send } from '../support/clients/http.js';
import { hiddenFields, type Visitor } from '../support/clients/visitor.js';
import { arriving, newEmail, PASSWORD, signedIn } from '../support/features/linking.js';
import { submitAccountForm } from '../support/features/my-data.js';
import { scrape } from '../support/inspection/metrics.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

const BUSY = 'Very many people are signing in right now.';
/** The number of guesses for one account from one address in a quarter of an hour. */
const GUESSES = 10;

let world: World;
beforeAll(async () => {
  world = await startWorld({
    environment: { RATE_LIMIT_SCALE: '1', TRUST_PROXY: '1' },
    // One password is looked at and one waits, long enough for a form to come meanwhile.
    hashThreads: { threads: 1, mostWaiting: 1 },
    hashCost: { memoryCost: 19_456, timeCost: 80, parallelism: 1 },
  });
});
afterAll(() => world.stop());

let addresses = 0;
/** An address that has not been used before: those of a crowd are not throttled together. */
const newAddress = () => ({ 'x-forwarded-for': `2001:db8:0:${(addresses += 1).toString(16)}::1` });

async function signIn(email: string, headers = newAddress()) {
  const page = await send(world.url, '/ring/home', { headers });
  const form = { ...hiddenFields(page.text, '/sign-in'), email, password: PASSWORD };
  return send(world.url, '/sign-in', { cookie: page.cookie, headers, form });
}

/** Runs something while so many people sign in that no other password has a turn. */
async function whileBusy<Result>(work: () => Promise<Result>): Promise<Result> {
  const crowd = [signIn(newEmail()), signIn(newEmail())];
  await until('one password waits', async () => {
    return (await scrape(world.url)).value('ring_link_password_hashes{state="waiting"}') === 1;
  });
  const result = await work();
  // They were there all the time, and each has its turn.
  expect((await Promise.all(crowd)).map(({ status }) => status)).toEqual([401, 401]);
  return result;
}

function expectBusy(visitor: Visitor): void {
  expect(visitor.page.status).toBe(503);
  expect(Number(visitor.page.headers['retry-after'])).toBeGreaterThan(0);
  expect(visitor.page.headers['content-type']).toContain('text/html');
  expect(visitor.page.text).toContain(BUSY);
}

describe('when more people sign in than there is room for,', () => {
  test.each(['/sign-in', '/sign-up'])('%s says so, with the form again and the e-mail in it', async (action) => {
    const visitor = world.visitor();
    const email = newEmail();
    await visitor.open('/ring/home');

    await whileBusy(() => visitor.submit(action, { email, password: PASSWORD }));

    expectBusy(visitor);
    expect(visitor.page.text).toContain(`value="${email}"`);
    expect(visitor.page.text).not.toContain(PASSWORD);
    expect(await world.sql('SELECT 1 FROM users WHERE email = $1', [email])).toEqual([]);
  });

  test('a redirect from Ring is kept, and the form links when it is sent again', async () => {
    const ringUser = await world.ring.createUser();
    await world.ring.install(ringUser);
    const visitor = await arriving(world, ringUser);
    const account = { email: newEmail(), password: PASSWORD };

    await whileBusy(() => visitor.submit('/sign-up', account));
    expectBusy(visitor);
    await visitor.submit('/sign-up', account);

    expect(visitor.heading).toBe('Your Ring account is linked');
  });

  test.each([
    { form: 'email', fields: { new: 'somebody.else@example.com' }, kept: 'value="somebody.else@example.com"' },
    { form: 'password', fields: { new: 'an entirely different one' }, kept: undefined },
    { form: 'delete', fields: { confirmation: 'delete' }, kept: 'value="delete"' },
  ] as const)('the form "$form" of the account says so and changes nothing', async ({ form, fields, kept }) => {
    const email = newEmail();
    const visitor = await signedIn(world, email);

    await whileBusy(() => submitAccountForm(visitor, form, fields));

    expectBusy(visitor);
    if (kept !== undefined) expect(visitor.page.text).toContain(kept);
    expect(visitor.page.text).not.toContain(PASSWORD);
    expect((await signIn(email)).status).toBe(303);
  });

  test('trying again and again does not use up the guesses of an account', async () => {
    const email = newEmail();
    const address = newAddress();
    await signedIn(world, email);

    const statuses = await whileBusy(async () => {
      const answers: number[] = [];
      for (let time = 0; time <= GUESSES; time += 1) answers.push((await signIn(email, address)).status);
      return answers;
    });

    expect(statuses).toContain(503);
    expect(statuses).not.toContain(429);
    expect((await signIn(email, address)).status).toBe(303);
  });

  test('all else is answered', async () => {
    const statuses = await whileBusy(async () => {
      const paths = ['/livez', '/readyz', '/ring/home'];
      return Promise.all(paths.map(async (path) => (await send(world.url, path)).status));
    });
    expect(statuses).toEqual([200, 200, 200]);
  });
});
