import type { Page } from 'playwright-core';
import { visitAs } from '../../support/clients/browser.js';
import type { Visitor } from '../../support/clients/visitor.js';
import { newEmail, PASSWORD, signedIn } from '../../support/features/linking.js';
import { fillIn, open, press, send } from './people.js';
import type { Stage } from './stage.js';
import type { State } from './state.js';

/** Of the session in the table: the cookie is it, signed. */
const sessionId = ({ cookie }: Visitor): string => /s:([^.]+)\./.exec(decodeURIComponent(cookie))?.[1] ?? '';

export const SIGNED_OUT: State[] = [
  {
    name: 'home-signed-out',
    visit: (page, stage) => open(page, stage, '/ring/home'),
    title: 'Home',
    says: 'Ring app',
  },
  {
    name: 'home-sign-up',
    title: 'Home',
    async visit(page, stage) {
      await open(page, stage, '/ring/home');
      await page.locator('details#sign-up summary').click();
    },
  },
  {
    name: 'home-wrong-password',
    example: 'home-signed-out',
    title: 'Home',
    says: 'Check both and try again',
    async visit(page, stage) {
      await open(page, stage, '/ring/home');
      await fillIn(page, 'sign-in', newEmail(), 'not the password');
      await press(page, 'Sign in');
    },
  },
  {
    name: 'home-email-taken',
    title: 'Home',
    says: 'Sign in with it instead',
    async visit(page, stage) {
      const email = newEmail('a.rather-long-name.of-somebody');
      await signedIn(stage.world, email);
      await open(page, stage, '/ring/home');
      await fillIn(page, 'sign-up', email, PASSWORD);
      await press(page, 'Create account');
    },
  },
  {
    name: 'home-short-password',
    title: 'Home',
    says: /10/,
    async visit(page, stage) {
      await open(page, stage, '/ring/home');
      await fillIn(page, 'sign-up', newEmail(), 'short');
      await send(page, '/sign-up');
    },
  },
  ...['/events', '/account', '/devices/somebody-elses'].map((address) => ({
    name: `signed-out-at${address.replaceAll('/', '-')}`,
    title: 'Home',
    says: 'If you were signed in, your session has ended',
    visit: (page: Page, stage: Stage) => open(page, stage, address),
  })),
  {
    name: 'session-ended',
    title: 'Home',
    says: /session has ended|signed out/i,
    async visit(page, stage) {
      const visitor = await signedIn(stage.world);
      await visitAs(page, visitor, '/account');
      await stage.world.sql('DELETE FROM sessions WHERE sid = $1', [sessionId(visitor)]);
      await page.getByRole('link', { name: 'Events' }).click();
      await page.getByRole('heading', { level: 1, name: 'Welcome' }).waitFor();
    },
  },
];
