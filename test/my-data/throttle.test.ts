import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { newEmail, signedIn } from '../support/features/linking.js';
import { signIn, submitAccountForm } from '../support/features/my-data.js';
import { startWorld, type World } from '../support/worlds/world.js';

/** The number of guesses in one session in a quarter of an hour. */
const GUESSES = 10;
const DOWNLOADS_PER_HOUR = 10;
/**
 * The number of forms from one address in an hour: creating an account and changing the e-mail tell whether an address
 * has an account.
 */
const SIGN_UPS = 20;

let world: World;
beforeAll(async () => {
  world = await startWorld({ environment: { RATE_LIMIT_SCALE: '1' } });
});
beforeEach(() => world.sql('DELETE FROM rate_limits'));
afterAll(() => world.stop());

const FORMS = [
  { form: 'email', fields: { new: 'somebody@example.com' } },
  { form: 'password', fields: { new: 'an entirely different one' } },
  { form: 'delete', fields: { confirmation: 'DELETE' } },
] as const;

test.each(FORMS)(
  'guessing the password at the form "$form" ends after ten guesses, even with the right one',
  async ({ form, fields }) => {
    const visitor = await signedIn(world);
    for (let guess = 0; guess < GUESSES; guess++) {
      await submitAccountForm(visitor, form, { ...fields, current: 'a wrong password' });
      expect(visitor.page.status).toBe(400);
    }

    await submitAccountForm(visitor, form, fields);

    expect(visitor.page.status).toBe(429);
    expect(visitor.heading).toBe('Too many attempts');
  },
);

test('the forms share the guesses of a session', async () => {
  const visitor = await signedIn(world);
  for (let guess = 0; guess < GUESSES; guess++) {
    const { form, fields } = FORMS[guess % FORMS.length] ?? FORMS[0];
    await submitAccountForm(visitor, form, { ...fields, current: 'a wrong password' });
    expect(visitor.page.status).toBe(400);
  }

  await submitAccountForm(visitor, 'password', { new: 'an entirely different one' });
  expect(visitor.page.status).toBe(429);
});

test('guesses in one session use up nothing of another, nor of the sign-in', async () => {
  const email = newEmail();
  const stolen = await signedIn(world, email);
  const owner = await signIn(world, email);
  for (let guess = 0; guess <= GUESSES; guess++) {
    await submitAccountForm(stolen, 'password', { new: 'an entirely different one', current: 'a wrong password' });
  }
  expect(stolen.page.status).toBe(429);

  await signIn(world, email);
  await submitAccountForm(owner, 'password', { new: 'an entirely different one' });
  expect(owner.page.status).toBe(200);
});

test('a form without a guess is not counted', async () => {
  const visitor = await signedIn(world);
  for (let time = 0; time < GUESSES + 1; time++) {
    await submitAccountForm(visitor, 'delete', { confirmation: 'no', current: '' });
    expect(visitor.page.status).toBe(400);
  }

  await submitAccountForm(visitor, 'password', { new: 'an entirely different one' });
  expect(visitor.page.status).toBe(200);
});

test('downloads of one user end after ten in an hour', async () => {
  const visitor = await signedIn(world);
  for (let time = 0; time < DOWNLOADS_PER_HOUR; time++) expect((await visitor.open('/account/data')).status).toBe(200);

  expect((await visitor.open('/account/data')).status).toBe(429);
  expect((await (await signedIn(world)).open('/account/data')).status).toBe(200);
});

test('the e-mail form tells no more often than the sign-up form whether an address has an account', async () => {
  const known = newEmail();
  await signedIn(world, known);
  const curious = await signedIn(world);
  const statuses: number[] = [];
  for (let attempt = 0; attempt <= SIGN_UPS; attempt++) {
    await submitAccountForm(curious, 'email', { new: known });
    statuses.push(curious.page.status);
  }
  expect(statuses[0]).toBe(409);
  expect(statuses.at(-1)).toBe(429);
});
