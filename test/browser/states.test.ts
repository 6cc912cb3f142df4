import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { launchBrowser } from '../support/clients/browser.js';
import { faultsOfPage, faultsOfTemplate } from '../support/inspection/look.js';
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

/** The HTML of each state, without spaces. */
const pages = new Map<string, string>();
const closeUp = (text: string): string => text.replaceAll(/\s+/g, '');

test.each(STATES)('$name is without fault for every reader', async (state) => {
  await show(browser, stage, state, async ({ page, html, faults }) => {
    pages.set(state.name, closeUp(html));
    faults.push(...(await faultsOfPage(page, html, state.title)));
    if (state.example !== undefined) faults.push(...(await faultsOfTemplate(page)));
    expect(faults).toEqual([]);
  });
});

test('every template is seen in each theme, width and size of text', () => {
  const examples = new Set(STATES.flatMap(({ example }) => (example === undefined ? [] : [`${example}.ejs`])));
  const templates = readdirSync(VIEWS).filter((file) => file.endsWith('.ejs'));
  expect([...examples].sort()).toEqual(templates.sort());
});

test('everything that the templates can show is shown by one of the states', () => {
  const all = [...pages.values()];
  const unseen = readdirSync(VIEWS, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ejs'))
    .flatMap((file) =>
      textsOf(readFileSync(join(VIEWS, file), 'utf8'))
        .filter((text) => !all.some((page) => page.includes(closeUp(text))))
        .map((text) => `${file}: ${text}`),
    );
  expect(unseen).toEqual([]);
});

/** The texts of a template that are written as they stand: those between its tags. */
const textsOf = (template: string): string[] =>
  template
    .split(/<%[\s\S]*?%>/)
    .map((text) => text.trim())
    .filter((text) => text !== '');
