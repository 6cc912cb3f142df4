import type { Page } from 'playwright-core';
import type { Stage } from './stage.js';

/** A page as somebody may find it. Declared once: the tests hold it to what holds for every page, the gallery shows it. */
export interface State {
  /** Also the name of its screenshots. */
  name: string;
  /** Brings the browser there. */
  visit: (page: Page, stage: Stage) => Promise<unknown>;
  /** What the page has to tell, the next step above all. */
  says?: RegExp | string;
  /** What the title begins with; the heading unless given. */
  title?: string;
  /**
   * The template of `views/` of which this shows the most, or what no other state of it shows. What depends on how a page
   * is made and not on what has happened (themes, widths, zoom, the way of the Tab key, weight) is looked at here.
   */
  example?: string;
}
