import { afterAll, beforeAll, describe, test } from '@jest/globals';
import type { Page } from 'playwright-core';
import { migrateToLatest } from '../../src/database/migrate.js';
import { Gallery, holdForms, type State, visitAs } from '../support/gallery.js';
import {
  arriving,
  installed,
  linked,
  linkPath,
  newEmail,
  nonceFor,
  PASSWORD,
  redirectOf,
  signedIn,
} from '../support/linking.js';
import { untilProcessed } from '../support/inbox.js';
import { startOwnPostgres } from '../support/postgres.js';
import { createProcessWorld } from '../support/process.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
let gallery: Gallery;
beforeAll(async () => {
  world = await startWorld({ patienceMs: 100 });
  gallery = await Gallery.open(world.url);
});
afterAll(async () => {
  await gallery.close();
  await world.stop();
});

const open = (page: Page, address: string) => page.goto(world.url + address);

/** Presses the button and waits for the answer, as a page of its own. */
async function press(page: Page, name: string): Promise<void> {
  await Promise.all([page.waitForEvent('load'), page.getByRole('button', { name, exact: true }).click()]);
}

async function fillIn(page: Page, form: 'sign-in' | 'sign-up', email: string, password: string): Promise<void> {
  const closed = page.locator(`details#${form}:not([open]) summary`);
  if ((await closed.count()) > 0) await closed.click();
  await page.locator(`#${form}-email`).fill(email);
  await page.locator(`#${form}-password`).fill(password);
}

/** Sends a form as it is, also what the browser would not send. */
async function send(page: Page, action: string): Promise<void> {
  await page.evaluate(`document.querySelectorAll('form').forEach((form) => { form.noValidate = true; })`);
  await Promise.all([
    page.waitForEvent('load'),
    page.locator(`form[action="${action}"] button[type="submit"]`).first().click(),
  ]);
}

const SIGNED_OUT: State[] = [
  {
    name: 'home-signed-out',
    visit: (page) => open(page, '/ring/home'),
    title: 'Home',
    says: 'Ring app',
  },
  {
    name: 'home-sign-up',
    title: 'Home',
    async visit(page) {
      await open(page, '/ring/home');
      await page.locator('details#sign-up summary').click();
    },
  },
  {
    name: 'home-wrong-password',
    title: 'Home',
    says: 'Check both and try again',
    async visit(page) {
      await open(page, '/ring/home');
      await fillIn(page, 'sign-in', newEmail(), 'not the password');
      await press(page, 'Sign in');
    },
  },
  {
    name: 'home-email-taken',
    title: 'Home',
    says: 'Sign in with it instead',
    async visit(page) {
      const email = newEmail('a.rather-long-name.of-somebody');
      await signedIn(world, email);
      await open(page, '/ring/home');
      await fillIn(page, 'sign-up', email, PASSWORD);
      await press(page, 'Create account');
    },
  },
  {
    name: 'home-short-password',
    title: 'Home',
    says: /10/,
    async visit(page) {
      await open(page, '/ring/home');
      await fillIn(page, 'sign-up', newEmail(), 'short');
      await send(page, '/sign-up');
    },
  },
  ...['/events', '/account', '/devices/somebody-elses'].map((address) => ({
    name: `signed-out-at${address.replaceAll('/', '-')}`,
    title: 'Home',
    says: 'If you were signed in, your session has ended',
    visit: (page: Page) => open(page, address),
  })),
  {
    name: 'session-ended',
    title: 'Home',
    says: /session has ended|signed out/i,
    async visit(page) {
      const visitor = await signedIn(world);
      await visitAs(page, visitor, '/account');
      await world.sql('DELETE FROM sessions');
      await page.getByRole('link', { name: 'Events' }).click();
      await page.getByRole('heading', { level: 1, name: 'Welcome' }).waitFor();
    },
  },
];

/** Someone whom the Ring app has just sent here, in the browser. */
async function arrive(page: Page, age = 0): Promise<void> {
  const time = `${world.clock.now().getTime() - age * 1_000}`;
  await open(page, linkPath(nonceFor(time, 'ava1.ring.account.of-nobody'), time));
}

/** The user's newest link is made to stand like this. */
async function visitLink(page: Page, change: string): Promise<void> {
  const { visitor, ringUser } = await linked(world);
  await world.sql(`UPDATE account_links SET ${change} WHERE account_id = $1`, [ringUser.account_id]);
  await visitAs(page, visitor, '/ring/link');
}
const CONFIRMING = `status = 'CONFIRMING', confirmation_step = 'POSTING', request_key_id = 'test',
                           request_ciphertext = '\\x00'`;

const LINKING: State[] = [
  { name: 'link-sign-in', visit: (page) => arrive(page), says: 'My Apps' },
  {
    name: 'link-sign-up',
    async visit(page) {
      await arrive(page);
      await page.locator('details#sign-up summary').click();
    },
  },
  {
    name: 'link-wrong-password',
    says: 'Check both and try again',
    async visit(page) {
      await arrive(page);
      await fillIn(page, 'sign-in', newEmail(), 'not the password');
      await press(page, 'Sign in and link');
    },
  },
  {
    name: 'link-confirm',
    async visit(page) {
      const email = newEmail('a.rather-long-name.of-somebody-who-links');
      await visitAs(page, await signedIn(world, email), '/ring/home');
      await arrive(page);
    },
  },
  {
    name: 'link-working',
    says: 'Please keep this page open',
    async visit(page) {
      await visitAs(page, await signedIn(world), '/ring/home');
      await arrive(page);
      await holdForms(page);
      await page.getByRole('button', { name: 'Link my Ring account' }).click();
    },
  },
  {
    name: 'linked',
    async visit(page) {
      const ringUser = await installed(world);
      const { nonce, time } = await redirectOf(world, ringUser);
      await open(page, linkPath(nonce, time));
      await fillIn(page, 'sign-up', newEmail(), PASSWORD);
      await press(page, 'Create account and link');
      await page.goto(`${world.url}/ring/link`);
    },
  },
  {
    name: 'link-being-finished',
    says: 'Check again',
    visit: (page) => visitLink(page, `${CONFIRMING}, last_error = NULL`),
  },
  {
    name: 'link-ring-unreachable',
    says: 'Check again',
    visit: (page) => visitLink(page, `${CONFIRMING}, last_error = 'unavailable 503'`),
  },
  {
    name: 'link-sign-in-again',
    says: 'tap Sign In again',
    visit: (page) => visitLink(page, `${CONFIRMING}, last_error = 'nonce too old'`),
  },
  { name: 'link-refused', says: 'Remove this app', visit: (page) => visitLink(page, `status = 'REFUSED'`) },
  {
    name: 'link-needs-relinking',
    says: 'Remove this app',
    visit: (page) => visitLink(page, `status = 'REAUTH_REQUIRED'`),
  },
  { name: 'link-removed', says: 'add this app', visit: (page) => visitLink(page, `status = 'REMOVED'`) },
  {
    name: 'link-already-linked',
    says: 'nothing left to do',
    async visit(page) {
      const ringUser = await installed(world);
      const { nonce, time } = await redirectOf(world, ringUser);
      const visitor = world.visitor();
      await visitor.open(linkPath(nonce, time));
      await visitor.submit('/sign-up', { email: newEmail(), password: PASSWORD });
      await visitAs(page, visitor, linkPath(nonce, time));
      await press(page, 'Link my Ring account');
    },
  },
  {
    name: 'link-of-somebody-else',
    says: 'choose “Use another account” and sign in with it',
    async visit(page) {
      const { ringUser } = await linked(world);
      await visitAs(page, await arriving(world, ringUser, await signedIn(world)), '/ring/link');
      await press(page, 'Link my Ring account');
    },
  },
  {
    name: 'link-no-match',
    says: 'tap Sign In again',
    async visit(page) {
      await visitAs(page, await signedIn(world), '/ring/home');
      await arrive(page);
      await press(page, 'Link my Ring account');
    },
  },
  {
    name: 'link-app-removed',
    says: 'add it again from the Ring Appstore',
    async visit(page) {
      const ringUser = await installed(world);
      const visitor = await arriving(world, ringUser, await signedIn(world));
      await world.ring.sendEvent({ user_id: ringUser.id, type: 'app_integration_removed' });
      await untilProcessed(world, ringUser);
      await visitAs(page, visitor, '/ring/link');
      await press(page, 'Link my Ring account');
    },
  },
  { name: 'link-expired', says: 'tap Sign In again', visit: (page) => arrive(page, 601) },
  { name: 'link-from-the-future', says: 'tap Sign In again', visit: (page) => arrive(page, -60) },
  {
    name: 'link-malformed',
    says: 'tap Sign In again',
    visit: (page) => open(page, '/ring/link?nonce=x&time=y'),
  },
  { name: 'link-nothing', says: 'tap Sign In again', visit: (page) => open(page, '/ring/link') },
];

/** The account page with one of its forms sent. */
async function sendAccountForm(page: Page, form: string, texts: Record<string, string>): Promise<void> {
  await visitAs(page, await signedIn(world, newEmail('grace')), '/account');
  await page.locator(`details#${form} summary`).click();
  for (const [field, text] of Object.entries(texts)) await page.locator(`#${form}-${field}`).fill(text);
  await send(page, `/account/${form}`);
}
const openAccountForm = async (page: Page, form: string) => {
  await visitAs(page, await signedIn(world), '/account');
  await page.locator(`details#${form} summary`).click();
};

const ACCOUNT: State[] = [
  { name: 'account', visit: async (page) => visitAs(page, await signedIn(world), '/account') },
  ...['email', 'password', 'delete'].map((form) => ({
    name: `account-${form}-open`,
    visit: (page: Page) => openAccountForm(page, form),
  })),
  {
    name: 'account-email-invalid',
    visit: (page) => sendAccountForm(page, 'email', { new: 'nobody', current: PASSWORD }),
  },
  {
    name: 'account-email-taken',
    says: 'Choose another one',
    async visit(page) {
      const email = newEmail('taken');
      await signedIn(world, email);
      await sendAccountForm(page, 'email', { new: email, current: PASSWORD });
    },
  },
  {
    name: 'account-email-wrong-password',
    says: 'try again',
    visit: (page) => sendAccountForm(page, 'email', { new: newEmail(), current: 'not the password' }),
  },
  {
    name: 'account-email-no-password',
    visit: (page) => sendAccountForm(page, 'email', { new: newEmail(), current: '' }),
  },
  {
    name: 'account-password-short',
    says: /10/,
    visit: (page) => sendAccountForm(page, 'password', { current: PASSWORD, new: 'short' }),
  },
  {
    name: 'account-password-wrong',
    says: 'try again',
    visit: (page) =>
      sendAccountForm(page, 'password', { current: 'not the password', new: 'an entirely different one' }),
  },
  {
    name: 'account-delete-untyped',
    says: 'DELETE',
    visit: (page) => sendAccountForm(page, 'delete', { confirmation: 'yes', current: PASSWORD }),
  },
  {
    name: 'account-delete-wrong-password',
    says: 'try again',
    visit: (page) => sendAccountForm(page, 'delete', { confirmation: 'DELETE', current: 'not the password' }),
  },
  {
    name: 'account-email-changed',
    says: 'Your email address is now',
    visit: (page) => sendAccountForm(page, 'email', { new: newEmail('ada'), current: PASSWORD }),
  },
  {
    name: 'account-password-changed',
    says: 'Your password is changed',
    visit: (page) => sendAccountForm(page, 'password', { current: PASSWORD, new: 'an entirely different one' }),
  },
  {
    name: 'account-throttled',
    says: /Wait (a minute|\d+ minutes)/,
    async visit(page) {
      await sendAccountForm(page, 'email', { new: newEmail(), current: 'not the password' });
      await throttled('sign_in_account', async () => {
        await page.locator('#email-current').fill(PASSWORD);
        await send(page, '/account/email');
      });
    },
  },
  {
    name: 'account-deleted',
    says: 'My Apps',
    visit: (page) => sendAccountForm(page, 'delete', { confirmation: 'DELETE', current: PASSWORD }),
  },
];

/** Does something after everybody has done too much of it. */
async function throttled(limit: string, act: () => Promise<unknown>): Promise<void> {
  await world.sql(`UPDATE rate_limits SET points = 1000000 WHERE key LIKE $1`, [`${limit}:%`]);
  await act();
  await world.sql('DELETE FROM rate_limits');
}

const ERRORS: State[] = [
  { name: 'error-404', says: 'home page', visit: (page) => open(page, '/nowhere') },
  {
    name: 'error-404-device',
    says: 'no longer shared',
    visit: async (page) => visitAs(page, await signedIn(world), '/devices/somebody-elses'),
  },
  {
    name: 'error-400',
    says: 'Open your events again',
    visit: async (page) => visitAs(page, await signedIn(world), '/events?kind=x'),
  },
  {
    name: 'error-403',
    says: 'load the page again',
    async visit(page) {
      await visitAs(page, await signedIn(world), '/ring/home');
      await page.evaluate(`document.querySelector('[name=_csrf]').value = 'of another day'`);
      await press(page, 'Sign out');
    },
  },
  {
    name: 'error-405',
    says: 'What to do next',
    async visit(page) {
      await visitAs(page, await signedIn(world), '/ring/home');
      await page.evaluate(`document.querySelector('form').action = '/events'`);
      await press(page, 'Sign out');
    },
  },
  {
    name: 'error-413',
    says: 'What to do next',
    async visit(page) {
      await visitAs(page, await signedIn(world), '/ring/home');
      await page.evaluate(`document.querySelector('[name=_csrf]').value = 'x'.repeat(10_000)`);
      await press(page, 'Sign out');
    },
  },
  {
    name: 'error-429',
    says: /Wait (a minute|\d+ minutes)/,
    visit: async (page) => {
      await open(page, '/ring/home');
      await throttled('visit', () => open(page, '/ring/home'));
    },
  },
  {
    name: 'error-500',
    says: 'try again',
    async visit(page) {
      const visitor = await signedIn(world);
      await world.sql('ALTER TABLE account_links RENAME TO lost');
      await visitAs(page, visitor, '/ring/home').finally(() => world.sql('ALTER TABLE lost RENAME TO account_links'));
    },
  },
];

describe.each([
  ['somebody who is not signed in', SIGNED_OUT],
  ['linking', LINKING],
  ['the account', ACCOUNT],
  ['what goes wrong', ERRORS],
])('the pages for %s hold for everybody', (_pages, states) => {
  test.each(states)('$name', async (state) => {
    await gallery.expectFit(state);
  });
});

test('the page for when the database is away holds for everybody', async () => {
  const postgres = await startOwnPostgres();
  await migrateToLatest(postgres.url);
  const home = await createProcessWorld({ databaseUrl: postgres.url });
  await home.startApp();
  const deprived = await Gallery.open(home.url);
  try {
    const visitor = await signedIn(home);
    await postgres.stop();
    const visit = (page: Page) => visitAs(page, visitor, '/ring/home');
    await deprived.expectFit({ name: 'error-503', says: 'Wait a minute', visit });
  } finally {
    await deprived.close();
    await home.stop();
    await postgres.remove();
  }
});
