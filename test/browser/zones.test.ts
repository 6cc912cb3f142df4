import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { inventedPeople } from '../../src/simulator/invented-people.js';
import { launchBrowser } from '../support/browser.js';
import { sharing } from '../support/devices.js';
import { accessibilityFaults, SCHEMES, SCREENSHOTS, sidewaysScroll } from '../support/look.js';
import { startWorld, type World } from '../support/world.js';

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
])('zones and capabilities of $device are shown to everyone at $width px', async ({ device, width, drawn }) => {
  const invented = inventedPeople().flatMap(({ devices = [] }) => devices);
  const { capabilities = null, configurations = null } = invented.find(({ id }) => id === device) ?? {};
  const { visitor, path } = await sharing(world, { name: device, capabilities, configurations });
  const context = await browser.newContext({ viewport: { width, height: 800 } });
  await context.addCookies(
    visitor.cookie.split('; ').map((cookie) => {
      const [name = '', value = ''] = cookie.split('=');
      return { name, value, url: world.url };
    }),
  );
  const page = await context.newPage();
  await page.goto(world.url + path);

  for (const colorScheme of SCHEMES) {
    await page.emulateMedia({ colorScheme });
    for (const part of ['zones', 'capabilities']) {
      const section = page.locator(`section[aria-labelledby=${part}]`);
      await section.screenshot({ path: join(SCREENSHOTS, `${device}-${part}-${width}-${colorScheme}.png`) });
    }
    expect(await accessibilityFaults(page)).toEqual([]);
  }
  expect(await sidewaysScroll(page)).toBe(0);

  const picture = page.getByRole('img', { name: `The zones in the picture of ${device}` });
  expect(await picture.count()).toBe(drawn === 0 ? 0 : 1);
  const names = page.locator('.zone-names .zone-name');
  expect(await names.count()).toBe(drawn);
  const frame = await picture.boundingBox({ timeout: 1_000 }).catch(() => null);
  for (const name of await names.all()) {
    // All of it is within the picture, and none is smaller on a phone.
    const box = await name.locator('circle, rect').boundingBox();
    expect(box?.width).toBeGreaterThanOrEqual(24);
    expect(box?.x).toBeGreaterThanOrEqual(frame?.x ?? Infinity);
    expect(box?.y).toBeGreaterThanOrEqual(frame?.y ?? Infinity);
    expect((box?.x ?? Infinity) + (box?.width ?? 0)).toBeLessThanOrEqual((frame?.x ?? 0) + (frame?.width ?? 0));
    expect((box?.y ?? Infinity) + (box?.height ?? 0)).toBeLessThanOrEqual((frame?.y ?? 0) + (frame?.height ?? 0));
  }
  await context.close();
});
