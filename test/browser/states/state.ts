import type { Page } from 'playwright-core';
import type { Stage } from './stage.js';

/**
 * A page in a state in which a user may find it. It is declared once: the tests check the rules for every page on it,
 * and the gallery shows it.
 */
export interface State {
  /** Also the name of its screenshots. */
  name: string;
  /** Brings the browser into the state. */
  visit: (page: Page, stage: Stage) => Promise<unknown>;
  /** The words that the page has to say, the next step above all. */
  says?: RegExp | string;
  /** The beginning of the title; the heading unless given. */
  title?: string;
  /**
   * The template of `views/` that this state shows best, or that no other state shows. Only such states are tested for
   * what depends on how a page is made and not on what has happened: themes, widths, zoom, the order of the Tab key,
   * weight.
   */
  example?: string;
}
