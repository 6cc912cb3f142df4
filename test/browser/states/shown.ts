import type { Browser, Page } from 'playwright-core';
import { newContext } from '../../support/browser.js';
import type { Stage } from './stage.js';
import type { State } from './state.js';

/** A page in one of its states, in a browser of its own. */
export interface Shown {
  page: Page;
  /** As it came from the server. */
  html: string;
  /** What went wrong on the way, in words. */
  faults: string[];
}

/** Brings a browser into a state, and closes it after the page was looked at. */
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

/** What most people hold in their hands, in CSS pixels. */
const PHONE = { width: 390, height: 800 };

/** Notes what must not happen at any time; returns what gives the HTML of the page that came last. */
function listen(page: Page, faults: string[]): () => Promise<string> {
  let html = Promise.resolve('');
  page.on('request', (request) => {
    if (request.isNavigationRequest()) return;
    if (new URL(request.url()).origin !== new URL(page.url()).origin)
      faults.push(`asks another host: ${request.url()}`);
  });
  page.on('pageerror', ({ message }) => faults.push(`throws: ${message}`));
  page.on('console', (message) => {
    // The browser reports each answer that is no success, and to some pages that belongs.
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
    // A redirect has no text; and a page that was left at once keeps none.
    if (isPage && response.status() !== 303) html = response.text().catch(() => '');
  });
  return () => html;
}
