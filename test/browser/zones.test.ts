import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { inventedPeople } from '../../src/simulator/state/invented-people.js';
import { launchBrowser, newContext, visitAs } from '../support/clients/browser.js';
import { sharing } from '../support/features/devices.js';
import { startWorld, type World } from '../support/worlds/world.js';

interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}
interface Measured {
  frame: Box;
  boxes: Box[];
}
/** Runs in the page: the positions of the drawing and of the zones' names. */
const MEASURE = `({
  frame: document.querySelector('.zone-picture > svg')?.getBoundingClientRect().toJSON(),
  boxes: [...document.querySelectorAll('.zone-names .zone-name :is(circle, rect)')].map((one) => one.getBoundingClientRect().toJSON()),
})`;

let world: World;
let browser: Browser;
beforeAll(async () => {
  [world, browser] = await Promise.all([startWorld(), launchBrowser()]);
});
afterAll(async () => {
  await browser.close();
  await world.stop();
});

test.each([
  { device: 'ada-front-door', width: 320, drawn: 3 },
  { device: 'ada-front-door', width: 1280, drawn: 3 },
  { device: 'sam-porch', width: 320, drawn: 2 },
  { device: 'sam-porch', width: 1280, drawn: 2 },
  { device: 'zoe-haustuer', width: 320, drawn: 0 },
])('the names of the zones of $device stand in its picture at $width px', async ({ device, width, drawn }) => {
  const invented = inventedPeople().flatMap(({ devices = [] }) => devices);
  const { capabilities = null, configurations = null } = invented.find(({ id }) => id === device) ?? {};
  const { visitor, path } = await sharing(world, { name: device, capabilities, configurations });
  const context = await newContext(browser, { viewport: { width, height: 800 } });
  const page = await context.newPage();
  await visitAs(page, visitor, path);

  const picture = page.getByRole('img', { name: `The zones in the picture of ${device}` });
  expect(await picture.count()).toBe(drawn === 0 ? 0 : 1);
  // All of each name is inside the picture, and no name is smaller on a phone. One evaluation measures everything,
  // because the page may move meanwhile.
  const { frame, boxes } = await page.evaluate<Measured>(MEASURE);
  expect(boxes).toHaveLength(drawn);
  for (const box of boxes) {
    expect(box.right - box.left).toBeGreaterThanOrEqual(24);
    expect(box.left).toBeGreaterThanOrEqual(frame.left);
    expect(box.top).toBeGreaterThanOrEqual(frame.top);
    expect(box.right).toBeLessThanOrEqual(frame.right);
    expect(box.bottom).toBeLessThanOrEqual(frame.bottom);
  }
  await context.close();
});
