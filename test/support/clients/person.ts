import { expect } from '@jest/globals';
import type { Locator, Page } from 'playwright-core';
import { until } from '../waiting/until.js';

/** The actions of a person at a page. Things are found by their role and name, and only if they are visible. */

type Name = string | RegExp;

export const heading = (page: Page, name: Name): Promise<void> =>
  page.getByRole('heading', { level: 1, name, exact: true }).waitFor();

/** Clicks a link, and waits for the next page. */
export const follow = (page: Page, name: Name): Promise<void> =>
  arrived(page, () => page.getByRole('link', { name, exact: true }).first().click());

/** Clicks a button that sends a form, and waits for the next page. */
export const press = (page: Page, name: Name): Promise<void> =>
  arrived(page, () => page.getByRole('button', { name, exact: true }).first().click());

/** Does what leads to another page, or loads this one again. */
export async function arrived(page: Page, act: () => Promise<unknown>): Promise<void> {
  await Promise.all([page.waitForEvent('load'), act()]);
}

/** Loads the page again until it says this. Webhooks arrive by themselves, but not at once. */
export async function reloadUntil(page: Page, text: Name): Promise<void> {
  await until(`the page says ${String(text)}`, async () => {
    await page.reload();
    return text instanceof RegExp ? text.test(await words(page)) : (await words(page)).includes(text);
  });
}

/** The visible text, in one line. */
export async function words(page: Page, part: Locator = page.locator('body')): Promise<string> {
  return (await part.innerText()).replaceAll(/\s+/g, ' ');
}

/** Presses Tab until this has the focus. Expects the focus to be visible at each step. */
export async function tabTo(page: Page, target: Locator, most = 40): Promise<void> {
  for (let presses = 0; presses < most; presses++) {
    await page.keyboard.press('Tab');
    await expectFocusSeen(page);
    if ((await target.and(page.locator(':focus')).count()) > 0) return;
  }
  throw new Error(`${String(target)} is not reached by ${most} times Tab`);
}

/** Expects the focused element to be marked, and on the screen. */
async function expectFocusSeen(page: Page): Promise<void> {
  const focus = await page.evaluate<{ what: string }>(`
    (() => {
      const element = document.activeElement;
      // The mark of a link that fills a line is around the line; within a field for a time, Chromium marks the parts.
      const isMarked = element.matches('input[type=time]:not(:focus-visible)') || [null, '::after'].some((part) => {
        const { outlineStyle, outlineWidth } = getComputedStyle(element, part);
        return outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2;
      });
      const { top, bottom, left, right } = element.getBoundingClientRect();
      return {
        what: element.outerHTML.slice(0, 200),
        isMarked,
        isInView: top >= 0 && left >= 0 && bottom <= innerHeight + 1 && right <= innerWidth + 1,
      };
    })()`);
  expect(focus).toEqual({ what: focus.what, isMarked: true, isInView: true });
}
