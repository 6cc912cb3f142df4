import { visitAs } from '../../support/clients/browser.js';
import { open, press, throttled } from './people.js';
import type { State } from './state.js';
import { visitWithoutDatabase } from './without-database.js';

export const ERRORS: State[] = [
  { name: 'error-404', says: 'home page', visit: (page, stage) => open(page, stage, '/nowhere') },
  {
    name: 'error-404-device',
    says: 'no longer shared',
    visit: async (page, stage) => visitAs(page, await stage.newcomer(), '/devices/somebody-elses'),
  },
  {
    name: 'error-400',
    says: 'Open your events again',
    visit: async (page, stage) => visitAs(page, await stage.newcomer(), '/events?kind=x'),
  },
  {
    name: 'error-403',
    says: 'load the page again',
    async visit(page, stage) {
      await visitAs(page, await stage.newcomer(), '/ring/home');
      await page.evaluate(`document.querySelector('[name=_csrf]').value = 'of another day'`);
      await press(page, 'Sign out');
    },
  },
  {
    name: 'error-405',
    says: 'What to do next',
    async visit(page, stage) {
      await visitAs(page, await stage.newcomer(), '/ring/home');
      await page.evaluate(`document.querySelector('form').action = '/events'`);
      await press(page, 'Sign out');
    },
  },
  {
    name: 'error-413',
    says: 'What to do next',
    async visit(page, stage) {
      await visitAs(page, await stage.newcomer(), '/ring/home');
      await page.evaluate(`document.querySelector('[name=_csrf]').value = 'x'.repeat(10_000)`);
      await press(page, 'Sign out');
    },
  },
  {
    name: 'error-429',
    says: /Wait (a minute|\d+ minutes)/,
    visit: async (page, stage) => {
      await open(page, stage, '/ring/home');
      await throttled(stage, 'visit', () => open(page, stage, '/ring/home'));
    },
  },
  {
    name: 'error-500',
    example: 'error',
    says: 'try again',
    async visit(page, stage) {
      const visitor = await stage.newcomer();
      await stage.world.sql('ALTER TABLE account_links RENAME TO lost');
      const found = () => stage.world.sql('ALTER TABLE lost RENAME TO account_links');
      await visitAs(page, visitor, '/ring/home').finally(found);
    },
  },
  { name: 'error-503', says: 'Wait a minute', visit: (page) => visitWithoutDatabase(page) },
];
