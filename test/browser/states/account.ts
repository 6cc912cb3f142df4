import type { Page } from 'playwright-core';
import { visitAs } from '../../support/clients/browser.js';
import type { Visitor } from '../../support/clients/visitor.js';
import { newEmail, PASSWORD, signedIn } from '../../support/features/linking.js';
import { send, throttled } from './people.js';
import type { Stage } from './stage.js';
import type { State } from './state.js';

/** The account page after one of its forms was sent. */
async function sendAccountForm(
  page: Page,
  visitor: Visitor,
  form: string,
  texts: Record<string, string>,
): Promise<void> {
  await visitAs(page, visitor, '/account');
  await page.locator(`details#${form} summary`).click();
  for (const [field, text] of Object.entries(texts)) await page.locator(`#${form}-${field}`).fill(text);
  await send(page, `/account/${form}`);
}
const openAccountForm = async (page: Page, stage: Stage, form: string) => {
  await visitAs(page, await stage.newcomer(), '/account');
  await page.locator(`details#${form} summary`).click();
};

/** Sends a form that is refused, so that nothing changes. */
const sent =
  (form: string, texts: Record<string, string>): State['visit'] =>
  async (page, stage) =>
    sendAccountForm(page, await stage.newcomer(), form, texts);

const sentByNewUser =
  (form: string, texts: Record<string, string>): State['visit'] =>
  async (page, stage) =>
    sendAccountForm(page, await signedIn(stage.world, newEmail('grace')), form, texts);

export const ACCOUNT: State[] = [
  { name: 'account', visit: async (page, stage) => visitAs(page, await stage.newcomer(), '/account') },
  ...['email', 'password', 'delete'].map((form) => ({
    name: `account-${form}-open`,
    visit: (page: Page, stage: Stage) => openAccountForm(page, stage, form),
  })),
  {
    name: 'account-email-invalid',
    visit: sent('email', { new: 'nobody', current: PASSWORD }),
  },
  {
    name: 'account-email-taken',
    says: 'Choose another one',
    async visit(page, stage) {
      const email = newEmail('taken');
      await signedIn(stage.world, email);
      await sendAccountForm(page, await stage.newcomer(), 'email', { new: email, current: PASSWORD });
    },
  },
  {
    name: 'account-email-wrong-password',
    example: 'account',
    says: 'try again',
    visit: sent('email', { new: newEmail(), current: 'not the password' }),
  },
  {
    name: 'account-email-no-password',
    visit: sent('email', { new: newEmail(), current: '' }),
  },
  {
    name: 'account-password-short',
    says: /10/,
    visit: sent('password', { current: PASSWORD, new: 'short' }),
  },
  {
    name: 'account-password-wrong',
    says: 'try again',
    visit: sent('password', { current: 'not the password', new: 'an entirely different one' }),
  },
  {
    name: 'account-delete-untyped',
    says: 'DELETE',
    visit: sent('delete', { confirmation: 'yes', current: PASSWORD }),
  },
  {
    name: 'account-delete-wrong-password',
    says: 'try again',
    visit: sent('delete', { confirmation: 'DELETE', current: 'not the password' }),
  },
  {
    name: 'account-email-changed',
    example: 'account',
    says: 'Your email address is now',
    visit: sentByNewUser('email', { new: newEmail('ada'), current: PASSWORD }),
  },
  {
    name: 'account-password-changed',
    says: 'Your password is changed',
    visit: sentByNewUser('password', { current: PASSWORD, new: 'an entirely different one' }),
  },
  {
    name: 'account-throttled',
    says: /Wait (a minute|\d+ minutes)/,
    async visit(page, stage) {
      const visitor = await signedIn(stage.world);
      await sendAccountForm(page, visitor, 'email', { new: newEmail(), current: 'not the password' });
      await throttled(stage, 'guess_signed_in', async () => {
        await page.locator('#email-current').fill(PASSWORD);
        await send(page, '/account/email');
      });
    },
  },
  {
    name: 'account-deleted',
    example: 'account-deleted',
    says: 'My Apps',
    visit: sentByNewUser('delete', { confirmation: 'DELETE', current: PASSWORD }),
  },
];
