import type { Browser, Page } from 'playwright-core';
import { newContext } from '../../support/clients/browser.js';
import type { Stage } from './stage.js';
import type { State } from './state.js';

/** A page in one of its states, in a browser of its own. */
export interface Shown {
  page: Page;
  /** The HTML that the server sent. */
  html: string;
  /** Everything that went wrong on the way, in words. */
  faults: string[];
}

/** Brings a browser into a state, and closes it after `see` has looked at the page. */
export async function show<Seen>(
  browser: Browser,
  stage: Stage,
  { visit, says }: State,
  look: (shown: Shown) => Promise<Seen>,
): Promise<Seen> {
  const context = await newContext(browser, { viewport: PHONE, reducedMotion: 'reduce' });
  try {
    const page = await context.newPage();
    const faults: string[] = [];
    const html = listen(page, faults);
    await visit(page, stage);
    const words = await page.locator('main').innerText();
    if (says !== undefined && words.search(says) < 0) faults.push(`does not say ${says.toString()}: ${words}`);
    return await look({ page, html: await html(), faults });
  } finally {
    await context.close();
  }
}

/** The size of a common phone, in CSS pixels. */
const PHONE = { width: 390, height: 800 };

/** Records faults that must not happen at any time. Returns a function that gives the HTML of the last page. */
function listen(page: Page, faults: string[]): () => Promise<string> {
  let html = Promise.resolve('');
  page.on('request', (request) => {
    if (request.isNavigationRequest()) return;
    if (new URL(request.url()).origin !== new URL(page.url()).origin)
      faults.push(`asks another host: ${request.url()}`);
  });
  page.on('pageerror', ({ message }) => faults.push(`throws: ${message}`));
  page.on('console', (message) => {
    // The browser reports each answer that is no success. Some pages are such answers.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource: the server responded')) {
      faults.push(`complains: ${message.text()}`);
    }
  });
  page.on('response', (response) => {
    const isPage = response.request().isNavigationRequest();
    const isRefusal = response.url().endsWith('/live-views');
    if (response.status() >= 400 && !isPage && !isRefusal) {
      faults.push(`lacks what it asks for: ${response.status()} ${response.url()}`);
    }
    // A redirect has no text, and the text of a page that was left at once is not kept.
    if (isPage && response.status() !== 303) html = response.text().catch(() => '');
  });
  return () => html;
}
