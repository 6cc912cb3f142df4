import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { launchBrowser } from './browser.js';
import { accessibilityFaults, SCHEMES, SCREENSHOTS, sidewaysScroll, WIDTHS } from './look.js';
import type { Visitor } from './visitor.js';

/** A page as somebody may find it. */
export interface State {
  /** Of the screenshots. */
  name: string;
  /** Brings the browser there. */
  visit: (page: Page) => Promise<unknown>;
  /** What the page has to tell, the next step above all. */
  says?: RegExp | string;
  /** What the title begins with; the heading unless given. */
  title?: string;
}

const MOST_BYTES = 60_000;

/** The browser that walks through all states. */
export class Gallery {
  /** As they came from the server. */
  readonly #html = new WeakMap<Page, Promise<string>>();

  private constructor(
    readonly url: string,
    readonly browser: Browser,
  ) {}

  static async open(url: string): Promise<Gallery> {
    return new Gallery(url, await launchBrowser());
  }

  /** Expects of a state all that must hold for every page in every state, and takes its pictures. */
  async expectFit({ name, visit, says, title }: State): Promise<void> {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: 'reduce' });
    try {
      const page = await context.newPage();
      const faults = this.#listen(page);
      await visit(page);
      const words = await page.locator('main').innerText();
      if (says !== undefined && words.search(says) < 0) faults.push(`does not say ${says}: ${words}`);
      faults.push(...(await this.#faultsOfPage(page, title)));
      for (const width of WIDTHS) faults.push(...(await faultsAtWidth(page, name, width)));
      faults.push(...(await faultsWhenEnlarged(page)), ...(await faultsOfFocus(page)));
      expect(faults).toEqual([]);
    } finally {
      await context.close();
    }
  }

  /** What must not happen at any time while the page is made and looked at. */
  #listen(page: Page): string[] {
    const faults: string[] = [];
    page.on('request', (request) => {
      if (new URL(request.url()).origin !== this.url) faults.push(`asks another host: ${request.url()}`);
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
      if (isPage && response.status() !== 303)
        this.#html.set(
          page,
          response.text().catch(() => ''),
        );
    });
    return faults;
  }

  async #faultsOfPage(page: Page, title: string | undefined): Promise<string[]> {
    const html = (await this.#html.get(page)) ?? '';
    const faults = html === '' ? ['its HTML was not seen'] : [];
    faults.push(...(await page.evaluate<string[]>(`(${WRITTEN})(${JSON.stringify(html)})`)));
    const heading = await page.locator('h1').innerText();
    const actual = (await page.title()).replace(/^Problem: /, '');
    if (!actual.startsWith(`${title ?? heading} – `)) faults.push(`has the title ${actual}`);
    faults.push(...(await page.evaluate<string[]>(MOVING)));
    const bytes = await page.evaluate<number>(WEIGHT);
    if (bytes > MOST_BYTES || bytes < 10_000) faults.push(`weighs ${bytes} bytes`);
    return faults;
  }

  /** Hangs the pictures of all browser tests so far beside each other. */
  async close(): Promise<void> {
    await this.browser.close();
    const pictures = readdirSync(SCREENSHOTS).filter((file) => file.endsWith('.png'));
    const nameOf = (file: string) => file.replace(/(-(light|dark|\d+))*\.png$/, '');
    const rows = [...new Set(pictures.map(nameOf))].sort().map((name) => {
      const files = pictures.filter((file) => nameOf(file) === name).sort();
      const shown = files.map((file) => `<a href="${file}"><img src="${file}" alt="${file}" title="${file}"></a>`);
      return `<h2 id="${name}">${name}</h2><div>${shown.join('')}</div>`;
    });
    writeFileSync(join(SCREENSHOTS, 'index.html'), `${INDEX_HEAD}\n${rows.join('\n')}\n`);
  }
}

const INDEX_HEAD = `<!doctype html><meta charset="utf-8"><title>Every page in every state</title>
<style>body { font: 1rem sans-serif; background: #888 } div { display: flex; gap: 1rem; align-items: start; overflow-x: auto }
img { width: 320px; max-height: 40rem; object-fit: cover; object-position: top }</style>`;

/** Opens an address in the browser, with the visitor's session. */
export async function visitAs(page: Page, { appUrl, cookie }: Visitor, address: string): Promise<void> {
  const [name = '', value = ''] = cookie.split('=');
  await page.context().addCookies([{ name, value, url: appUrl, httpOnly: true, sameSite: 'Lax' }]);
  await page.goto(appUrl + address);
}

/** From here on the page's forms wait for an answer that does not come. */
export async function holdForms(page: Page): Promise<void> {
  await page.evaluate(`addEventListener('submit', (event) => event.preventDefault())`);
}

async function faultsAtWidth(page: Page, name: string, width: number): Promise<string[]> {
  const faults: string[] = [];
  await page.setViewportSize({ width, height: 800 });
  for (const colorScheme of SCHEMES) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: join(SCREENSHOTS, `${name}-${width}-${colorScheme}.png`), fullPage: true });
    const looksOnly = colorScheme === 'dark' || width !== WIDTHS[0];
    for (const { id, where } of await accessibilityFaults(page, { looksOnly })) {
      faults.push(`${width} px, ${colorScheme}: ${id}: ${where.join(' ')}`);
    }
  }
  const more = [...(await page.evaluate<string[]>(SMALL)), ...(await faultsOfRoom(page))];
  return [...faults, ...more.map((fault) => `${width} px: ${fault}`)];
}

/** At 200 %: of everything, which halves the window, and of the text alone. */
async function faultsWhenEnlarged(page: Page): Promise<string[]> {
  const faults: string[] = [];
  await page.setViewportSize({ width: 640, height: 400 });
  faults.push(...(await faultsOfRoom(page)).map((fault) => `zoomed to 200 %: ${fault}`));
  await page.evaluate('document.documentElement.style.fontSize = "200%"');
  for (const width of WIDTHS) {
    await page.setViewportSize({ width, height: 800 });
    faults.push(...(await faultsOfRoom(page)).map((fault) => `text at 200 % on ${width} px: ${fault}`));
  }
  await page.evaluate('document.documentElement.style.fontSize = ""');
  return faults;
}

async function faultsOfRoom(page: Page): Promise<string[]> {
  const sideways = await sidewaysScroll(page);
  const cut = await page.evaluate<string[]>(CUT);
  return sideways === 0 ? cut : [`scrolls ${sideways} px sideways`, ...cut];
}

/** Walks over the page with the Tab key. */
async function faultsOfFocus(page: Page): Promise<string[]> {
  await page.evaluate('document.activeElement.blur(); scrollTo(0, 0)');
  let left = await page.evaluate<number>(WALK);
  // Some fields, as that of a time, are several stops.
  for (let steps = left + 12; steps > 0 && left > 0; steps--) {
    await page.keyboard.press('Tab');
    left = await page.evaluate<number>('step()');
  }
  return page.evaluate<string[]>(
    'unmarked.concat([...unreached].map((one) => `can’t be reached by Tab: ${tell(one)}`))',
  );
}

// What follows runs in the page. It has no types of the browser, so it is text.

const TOOLS = `
  const tell = (element) => element.outerHTML.replace(/\\s+/g, ' ').slice(0, 160);
  const isHidden = (element) =>
    !element.checkVisibility({ visibilityProperty: true }) || element.closest('.visually-hidden, .skip-link, svg');
  const CONTROLS = 'a[href], button, input:not([type=hidden]), select, summary, textarea, [tabindex="0"]';
  const controls = () => [...document.querySelectorAll(CONTROLS)].filter((element) => !isHidden(element));
`;

/** How the page is written. */
const WRITTEN = `(html) => {
  ${TOOLS}
  const written = new DOMParser().parseFromString(html, 'text/html');
  const faults = [];
  if (html === '') faults.push('has not come from the server');
  for (const element of written.querySelectorAll('*')) {
    const names = element.getAttributeNames();
    if (names.some((name) => name === 'style' || name.startsWith('on'))) faults.push('inline: ' + tell(element));
    if (element.localName === 'style') faults.push('inline: ' + tell(element));
    if (element.localName === 'script' && !element.src) faults.push('inline: ' + tell(element));
  }
  if (written.documentElement.lang !== 'en') faults.push('has the language ' + written.documentElement.lang);
  for (const one of ['h1', 'main', 'title']) {
    const count = written.querySelectorAll(one === 'title' ? 'head > title' : one).length;
    if (count !== 1) faults.push('has ' + count + ' ' + one);
  }
  const levels = [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')]
    .filter((element) => element.checkVisibility())
    .map(({ localName }) => Number(localName[1]));
  levels.forEach((level, index) => {
    if (level > (levels[index - 1] ?? 0) + 1) faults.push('skips a level of headings: ' + levels);
  });
  const ids = [...written.querySelectorAll('[id]')].map(({ id }) => id);
  if (new Set(ids).size < ids.length) faults.push('has an id twice: ' + ids);
  return faults;
}`;

/** What moves although the reader prefers that nothing does. */
const MOVING = `(() => {
  ${TOOLS}
  const faults = [];
  for (const element of document.querySelectorAll('*')) {
    for (const part of [null, '::before', '::after']) {
      const style = getComputedStyle(element, part);
      const isAnimated = style.animationName !== 'none' && parseFloat(style.animationDuration) > 0.01;
      if (isAnimated || parseFloat(style.transitionDuration) > 0.01) faults.push('moves: ' + tell(element));
    }
  }
  return faults;
})()`;

/** All that the page has loaded at first but pictures, uncompressed, in bytes. */
const WEIGHT = `[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .filter(({ initiatorType }) => initiatorType !== 'img' && initiatorType !== 'fetch')
  .reduce((sum, { decodedBodySize }) => sum + decodedBodySize, 0)`;

/** Controls that are hard to hit; not those within a sentence, which are as high as its lines. */
const SMALL = `(() => {
  ${TOOLS}
  return controls().filter((element) => {
    const { width, height } = element.getBoundingClientRect();
    const isInSentence = getComputedStyle(element).display === 'inline'
      && element.parentElement.textContent.trim() !== element.textContent.trim();
    return (width < 24 || height < 24) && !isInSentence;
  }).map((element) => {
    const { width, height } = element.getBoundingClientRect();
    return 'is only ' + width.toFixed(1) + ' by ' + height.toFixed(1) + ': ' + tell(element);
  });
})()`;

/** What has no room: controls and texts that stand out of the window, or of what cuts them off. */
const CUT = `(() => {
  ${TOOLS}
  const { clientWidth } = document.documentElement;
  const faults = [];
  for (const element of document.querySelectorAll('body *')) {
    // What scrolls by itself, as a strip of pictures does, has room for what is in it.
    if (isHidden(element) || element.matches('option') || element.closest('.pictures')) continue;
    const { left, right, width } = element.getBoundingClientRect();
    if (width > 0 && (left < -1 || right > clientWidth + 1)) faults.push('stands out of the window: ' + tell(element));
    const { display, overflowX, overflowY } = getComputedStyle(element);
    if (element.matches('input, select, video') || display === 'inline') continue;
    if (element.scrollWidth > element.clientWidth + 1) faults.push('overflows: ' + tell(element));
    if (overflowY !== 'visible' && element.scrollHeight > element.clientHeight + 1) faults.push('is cut: ' + tell(element));
    if (overflowX === 'scroll') faults.push('scrolls: ' + tell(element));
  }
  return faults;
})()`;

/** Sets up what \`step()\` ticks off: controls that were not reached yet. */
const WALK = `(() => {
  ${TOOLS}
  globalThis.tell = tell;
  globalThis.unreached = new Set(controls().filter(({ tabIndex }) => tabIndex >= 0));
  globalThis.unmarked = [];
  const look = (element, part) => {
    const { outlineStyle, outlineWidth, outlineColor, boxShadow } = getComputedStyle(element, part);
    return outlineStyle === 'none' ? boxShadow : [outlineStyle, outlineWidth, outlineColor, boxShadow].join();
  };
  const looks = new Map([...unreached].map((one) => [one, look(one, null) + look(one, '::after')]));
  globalThis.step = () => {
    const one = document.activeElement;
    if (unreached.delete(one) && look(one, null) + look(one, '::after') === looks.get(one)) {
      unmarked.push('shows no focus: ' + tell(one));
    }
    return unreached.size;
  };
  return unreached.size;
})()`;
