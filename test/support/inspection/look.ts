import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AxeResults } from 'axe-core';
import type { Page } from 'playwright-core';

/**
 * Checks of how a page looks and is written, as far as a machine can tell. Each function returns the faults in words;
 * none if all is well.
 */

/** The smaller of axe's two builds, because it is sent to each page. */
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** The widths of a small phone and of a desktop, in CSS pixels. */
export const WIDTHS = [320, 1280] as const;
export const SCHEMES = ['light', 'dark'] as const;

const STANDARDS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

/**
 * The rules whose result can differ between light and dark, or between a phone, which lacks one decorative icon, and a
 * desktop.
 */
const LOOKS_RULES = ['color-contrast', 'link-in-text-block', 'scrollable-region-focusable', 'target-size'];

/** The faults that axe-core finds on the page as it is now. Only those of its looks, if the rest is known already. */
export async function accessibilityFaults(
  page: Page,
  { looksOnly = false } = {},
): Promise<{ id: string; where: string[] }[]> {
  if (!(await page.evaluate<boolean>('"axe" in window'))) await page.evaluate(AXE);
  const runOnly = looksOnly ? { type: 'rule', values: LOOKS_RULES } : { type: 'tag', values: STANDARDS };
  const options = JSON.stringify({ runOnly, resultTypes: ['violations'] });
  const { violations } = await page.evaluate<Pick<AxeResults, 'violations'>>(`axe.run(document, ${options})`);
  return violations.map(({ id, nodes }) => ({ id, where: nodes.map((node) => node.html) }));
}

/** The distance in CSS pixels by which the page can be scrolled sideways. */
export const sidewaysScroll = (page: Page): Promise<number> =>
  page.evaluate<number>('document.documentElement.scrollWidth - document.documentElement.clientWidth');

/** The checks for every page in every state: how it is written, its title, and axe-core's faults as it is shown now. */
export async function faultsOfPage(page: Page, html: string, title?: string): Promise<string[]> {
  const faults = html === '' ? ['its HTML was not seen'] : [];
  faults.push(...(await page.evaluate<string[]>(`(${WRITTEN})(${JSON.stringify(html)})`)));
  const heading = await page.locator('h1').innerText();
  const actual = (await page.title()).replace(/^Problem: /, '');
  if (!actual.startsWith(`${title ?? heading} – `)) faults.push(`has the title ${actual}`);
  return [...faults, ...(await axeFaults(page))];
}

const MOST_BYTES = 60_000;

/** The checks for each template: light and dark, a phone and a desktop, 200 %, the Tab key, motion and weight. */
export async function faultsOfTemplate(page: Page): Promise<string[]> {
  const faults = await page.evaluate<string[]>(MOVING);
  const bytes = await page.evaluate<number>(WEIGHT);
  if (bytes > MOST_BYTES || bytes < 10_000) faults.push(`weighs ${bytes} bytes`);
  for (const width of WIDTHS) faults.push(...(await faultsAtWidth(page, width)));
  return [...faults, ...(await faultsWhenEnlarged(page)), ...(await faultsOfFocus(page))];
}

async function axeFaults(page: Page, options?: { looksOnly: boolean }): Promise<string[]> {
  return (await accessibilityFaults(page, options)).map(({ id, where }) => `${id}: ${where.join(' ')}`);
}

async function faultsAtWidth(page: Page, width: number): Promise<string[]> {
  const faults: string[] = [];
  await page.setViewportSize({ width, height: 800 });
  for (const colorScheme of SCHEMES) {
    await page.emulateMedia({ colorScheme });
    const looksOnly = colorScheme === 'dark' || width !== WIDTHS[0];
    faults.push(...(await axeFaults(page, { looksOnly })).map((fault) => `${colorScheme}: ${fault}`));
  }
  faults.push(...(await page.evaluate<string[]>(SMALL)), ...(await faultsOfRoom(page)));
  return faults.map((fault) => `${width} px: ${fault}`);
}

/** The page at 200 %: once with everything enlarged, which halves the window, and once with the text alone. */
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

/** Walks through the page with the Tab key. */
async function faultsOfFocus(page: Page): Promise<string[]> {
  await page.evaluate('document.activeElement.blur(); scrollTo(0, 0)');
  let left = await page.evaluate<number>(WALK);
  // Some fields, such as a time, are several stops.
  for (let steps = left + 12; steps > 0 && left > 0; steps--) {
    await page.keyboard.press('Tab');
    left = await page.evaluate<number>('step()');
  }
  return page.evaluate<string[]>(
    'unmarked.concat([...unreached].map((one) => `can’t be reached by Tab: ${tell(one)}`))',
  );
}

// The following runs in the page. It is text, because this file has no types of the browser.

const TOOLS = `
  const tell = (element) => element.outerHTML.replace(/\\s+/g, ' ').slice(0, 160);
  const isHidden = (element) =>
    !element.checkVisibility({ visibilityProperty: true }) || element.closest('.visually-hidden, .skip-link, svg');
  const CONTROLS = 'a[href], button, input:not([type=hidden]), select, summary, textarea, [tabindex="0"]';
  const controls = () => [...document.querySelectorAll(CONTROLS)].filter((element) => !isHidden(element));
`;

/** Faults in how the page is written. */
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

/** Elements that move although the reader prefers reduced motion. */
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

/** The bytes that the page has loaded at first, uncompressed and without pictures. */
const WEIGHT = `[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
  .filter(({ initiatorType }) => !['img', 'video', 'fetch'].includes(initiatorType))
  .reduce((sum, { decodedBodySize }) => sum + decodedBodySize, 0)`;

/** Controls that are hard to hit. Those within a sentence are left out, because they are as high as its lines. */
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

/** Controls and texts without room: they stand out of the window, or of an element that cuts them off. */
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

/** Prepares the list from which \`step()\` removes the controls that the Tab key reaches. */
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
