import type { Page } from 'playwright-core';
import { visitAs } from '../../support/clients/browser.js';
import { untilProcessed } from '../../support/features/inbox.js';
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
  untilLink,
} from '../../support/features/linking.js';
import { CONFIRMING, fillIn, holdForms, open, press } from './people.js';
import type { Stage } from './stage.js';
import type { State } from './state.js';

/** A user in the browser whom the Ring app has just redirected here. */
async function arrive(page: Page, stage: Stage, age = 0): Promise<void> {
  const time = `${stage.world.clock.now().getTime() - age * 1_000}`;
  await open(page, stage, linkPath(nonceFor(time, 'ava1.ring.account.of-nobody'), time));
}

/** The page of a link in this state. */
const linkWith =
  (assignment: string): State['visit'] =>
  async (page, stage) =>
    visitAs(page, await stage.linkedWith(assignment), '/ring/link');

export const LINKING: State[] = [
  { name: 'link-sign-in', visit: (page, stage) => arrive(page, stage), says: 'My Apps' },
  {
    name: 'link-sign-up',
    async visit(page, stage) {
      await arrive(page, stage);
      await page.locator('details#sign-up summary').click();
    },
  },
  {
    name: 'link-wrong-password',
    example: 'link-sign-in',
    says: 'Check both and try again',
    async visit(page, stage) {
      await arrive(page, stage);
      await fillIn(page, 'sign-in', newEmail(), 'not the password');
      await press(page, 'Sign in and link');
    },
  },
  {
    name: 'link-confirm',
    example: 'link-confirm',
    async visit(page, stage) {
      const email = newEmail('a.rather-long-name.of-somebody-who-links');
      await visitAs(page, await signedIn(stage.world, email), '/ring/home');
      await arrive(page, stage);
    },
  },
  {
    name: 'link-working',
    says: 'Please keep this page open',
    async visit(page, stage) {
      await visitAs(page, await signedIn(stage.world), '/ring/home');
      await arrive(page, stage);
      await holdForms(page);
      await page.getByRole('button', { name: 'Link my Ring account' }).click();
    },
  },
  {
    name: 'linked',
    example: 'link-outcome',
    async visit(page, stage) {
      const ringUser = await installed(stage.world);
      const { nonce, time } = await redirectOf(stage.world, ringUser);
      await open(page, stage, linkPath(nonce, time));
      await fillIn(page, 'sign-up', newEmail(), PASSWORD);
      await press(page, 'Create account and link');
      await untilLink(stage.world, ringUser, 'COMPLETED');
      await open(page, stage, '/ring/link');
    },
  },
  {
    name: 'link-being-finished',
    example: 'link-outcome',
    says: 'Check again',
    visit: linkWith(`${CONFIRMING}, last_error = NULL`),
  },
  {
    name: 'link-ring-unreachable',
    says: 'Check again',
    visit: linkWith(`${CONFIRMING}, last_error = 'unavailable 503'`),
  },
  {
    name: 'link-sign-in-again',
    says: 'tap Sign In again',
    visit: linkWith(`${CONFIRMING}, last_error = 'nonce too old'`),
  },
  { name: 'link-refused', says: 'Remove this app', visit: linkWith(`status = 'REFUSED'`) },
  {
    name: 'link-needs-relinking',
    says: 'Remove this app',
    visit: linkWith(`status = 'REAUTH_REQUIRED'`),
  },
  { name: 'link-removed', says: 'add this app', visit: linkWith(`status = 'REMOVED'`) },
  {
    name: 'link-already-linked',
    says: 'nothing left to do',
    async visit(page, stage) {
      const ringUser = await installed(stage.world);
      const { nonce, time } = await redirectOf(stage.world, ringUser);
      const visitor = stage.world.visitor();
      await visitor.open(linkPath(nonce, time));
      await visitor.submit('/sign-up', { email: newEmail(), password: PASSWORD });
      await untilLink(stage.world, ringUser, 'COMPLETED');
      await visitAs(page, visitor, linkPath(nonce, time));
      await press(page, 'Link my Ring account');
    },
  },
  {
    name: 'link-of-another-user',
    example: 'link-outcome',
    says: 'choose “Use another account” and sign in with it',
    async visit(page, stage) {
      const { ringUser } = await linked(stage.world);
      await visitAs(page, await arriving(stage.world, ringUser, await signedIn(stage.world)), '/ring/link');
      await press(page, 'Link my Ring account');
    },
  },
  {
    name: 'link-no-match',
    says: 'tap Sign In again',
    async visit(page, stage) {
      await visitAs(page, await signedIn(stage.world), '/ring/home');
      await arrive(page, stage);
      await press(page, 'Link my Ring account');
    },
  },
  {
    name: 'link-app-removed',
    says: 'add it again from the Ring Appstore',
    async visit(page, stage) {
      const ringUser = await installed(stage.world);
      const visitor = await arriving(stage.world, ringUser, await signedIn(stage.world));
      await stage.world.ring.sendEvent({ user_id: ringUser.id, type: 'app_integration_removed' });
      await untilProcessed(stage.world, ringUser);
      await visitAs(page, visitor, '/ring/link');
      await press(page, 'Link my Ring account');
    },
  },
  { name: 'link-expired', says: 'tap Sign In again', visit: (page, stage) => arrive(page, stage, 601) },
  { name: 'link-from-the-future', says: 'tap Sign In again', visit: (page, stage) => arrive(page, stage, -60) },
  {
    name: 'link-malformed',
    says: 'tap Sign In again',
    visit: (page, stage) => open(page, stage, '/ring/link?nonce=x&time=y'),
  },
  { name: 'link-nothing', says: 'tap Sign In again', visit: (page, stage) => open(page, stage, '/ring/link') },
];
