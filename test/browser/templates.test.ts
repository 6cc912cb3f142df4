import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { launchBrowser } from '../support/browser.js';
import { faultsOfTemplate } from '../support/look.js';
import { STATES } from './states/all.js';
import { show } from './states/shown.js';
import { Stage } from './states/stage.js';

const VIEWS = join(import.meta.dirname, '../../../views');

let stage: Stage;
let browser: Browser;
beforeAll(async () => {
  [stage, browser] = await Promise.all([Stage.open(), launchBrowser()]);
});
afterAll(async () => {
  await browser.close();
  await stage.close();
});

const EXAMPLES = STATES.flatMap(({ example, ...state }) => (example === undefined ? [] : [{ ...state, example }]));

test.each(EXAMPLES)(
  'the template $example is fit for each theme, width, size of text and reader, as $name',
  async (state) => {
    await show(browser, stage, state, async ({ page, faults }) => {
      faults.push(...(await faultsOfTemplate(page)));
      expect(faults).toEqual([]);
    });
  },
);

test('every template has an example', () => {
  const templates = readdirSync(VIEWS).filter((file) => file.endsWith('.ejs'));
  expect([...new Set(EXAMPLES.map(({ example }) => `${example}.ejs`))].sort()).toEqual(templates.sort());
});
