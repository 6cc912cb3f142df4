import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import axe, { type AxeResults } from 'axe-core';
import type { Page } from 'playwright-core';

/** Every page in every state, for a person to look at. */
export const SCREENSHOTS = join(import.meta.dirname, '../../screenshots');
mkdirSync(SCREENSHOTS, { recursive: true });

/** Of a phone and of a desktop, in CSS pixels. */
export const WIDTHS = [320, 1280] as const;
export const SCHEMES = ['light', 'dark'] as const;

const STANDARDS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

/** All that can differ between light and dark, and between a phone, which lacks one decorative icon, and a desktop. */
const LOOKS_RULES = ['color-contrast', 'link-in-text-block', 'scrollable-region-focusable', 'target-size'];

/** What axe-core finds on the page as it is now; of its looks alone, if the rest is known already. */
export async function accessibilityFaults(
  page: Page,
  { looksOnly = false } = {},
): Promise<{ id: string; where: string[] }[]> {
  if (!(await page.evaluate<boolean>('"axe" in window'))) await page.evaluate(axe.source);
  const runOnly = looksOnly ? { type: 'rule', values: LOOKS_RULES } : { type: 'tag', values: STANDARDS };
  const options = JSON.stringify({ runOnly, resultTypes: ['violations'] });
  const { violations } = await page.evaluate<Pick<AxeResults, 'violations'>>(`axe.run(document, ${options})`);
  return violations.map(({ id, nodes }) => ({ id, where: nodes.map((node) => node.html) }));
}

/** How far the page can be scrolled sideways, in CSS pixels. */
export const sidewaysScroll = (page: Page): Promise<number> =>
  page.evaluate<number>('document.documentElement.scrollWidth - document.documentElement.clientWidth');
