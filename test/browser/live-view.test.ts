import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { launchBrowser, newContext, visitAs } from '../support/clients/browser.js';
import { type Owner, sharing } from '../support/features/devices.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
let browser: Browser;
let context: BrowserContext;
let page: Page;
const complaints: string[] = [];
beforeAll(async () => {
  [world, browser] = await Promise.all([startWorld(), launchBrowser()]);
  context = await newContext(browser, { viewport: { width: 320, height: 640 } });
  page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(error.message));
});
afterAll(async () => {
  await context.close();
  await browser.close();
  await world.stop();
});

/** Opens the page of the owner's device in the browser. */
async function visit(owner: Owner): Promise<void> {
  await visitAs(page, owner.visitor, owner.path);
}

const watch = () => page.getByRole('button', { name: 'Watch live' }).click();
const frames = () =>
  page.evaluate<number>('document.querySelector("video").getVideoPlaybackQuality().totalVideoFrames');
const status = () => page.locator('.live [role="status"]').innerText();

const untilWatching = () => until('frames arrive', async () => (await frames()) > 5);
const untilTold = (words: string) => until(`the page says ${words}`, async () => (await status()).includes(words));

async function sessionsOf(owner: Owner): Promise<string[]> {
  const views = await world.ring.liveViews();
  return views.filter(({ device_id }) => device_id === owner.device.id).map(({ state }) => state);
}

async function tell(
  owner: Owner,
  type: 'device_offline' | 'device_online' | 'device_removed',
  seconds: number,
): Promise<void> {
  const timestamp = world.clock.now().getTime() + seconds * 1_000;
  await world.ring.sendEvent({ user_id: owner.ringUser.id, type, device_id: owner.device.id, timestamp });
}

describe('watching live', () => {
  test('shows frames that move, and how long it lasts; one click ends it, here and at Ring', async () => {
    const owner = await sharing(world);
    await visit(owner);

    await watch();
    await untilWatching();

    expect(await page.getByRole('timer').innerText()).toMatch(/^At most \d+ seconds left$/);
    const before = await frames();
    await until('more frames arrive', async () => (await frames()) > before + 5);
    expect(await sessionsOf(owner)).toEqual(['open']);

    await page.getByRole('button', { name: 'End live view' }).click();
    expect(await status()).toBe('The live view is closed.');
    await until('Ring has closed it', async () => (await sessionsOf(owner))[0] === 'closed');
  });

  test('says why it ends when the device goes offline, and offers it again when it is back', async () => {
    const owner = await sharing(world);
    await visit(owner);
    await watch();
    await untilWatching();

    await tell(owner, 'device_offline', 1);
    await untilTold('because the device went offline');
    await page.getByText('Offline since').waitFor();

    await page.reload();
    expect(await page.getByRole('button', { name: 'Watch live' }).count()).toBe(0);
    expect(await page.getByText('as soon as it is online again').isVisible()).toBe(true);
    await tell(owner, 'device_online', 2);
    await until('it is offered again', async () => {
      await page.reload();
      return page.getByRole('button', { name: 'Watch live' }).isVisible();
    });
  });

  test('says so when the device is removed', async () => {
    const owner = await sharing(world);
    await visit(owner);
    await watch();
    await untilWatching();

    await tell(owner, 'device_removed', 1);

    await untilTold('no longer shared');
  });

  test('ends when its time is over', async () => {
    const owner = await sharing(world);
    await visit(owner);
    await watch();
    await untilWatching();

    world.clock.advance(61);

    await untilTold('after a minute at most');
    expect(await page.getByRole('button', { name: 'Watch live' }).isVisible()).toBe(true);
  });

  test('is told what went wrong when Ring does not open it', async () => {
    const owner = await sharing(world);
    await visit(owner);
    await world.ring.setFaults([{ endpoint: 'whep-post', fault: { kind: 'status', status: 500 }, times: 1 }]);

    await watch();

    await untilTold('Ring could not open the live view. Please try again in a moment.');
    await watch();
    await untilWatching();
  });

  test('ends at Ring when its user leaves the page', async () => {
    const owner = await sharing(world);
    await visit(owner);
    await watch();
    await untilWatching();

    await page.goto(`${world.url}/ring/home`);

    await until('Ring has closed it', async () => (await sessionsOf(owner))[0] === 'closed');
  });

  test('goes on while our server can not tell, and is told when its user is signed out elsewhere', async () => {
    const owner = await sharing(world);
    await visit(owner);
    await watch();
    await untilWatching();
    let asked = 0;
    await page.route('**/live-views/*', (route) => {
      asked += 1;
      return asked % 2 === 0 ? route.abort() : route.fulfill({ status: 503, body: 'not now' });
    });
    await until('it has asked in vain, and again', () => Promise.resolve(asked >= 3));
    await page.unroute('**/live-views/*');
    expect(await status()).toBe('You are watching live.');

    await world.sql('DELETE FROM sessions');

    await untilTold('You are signed out. Reload the page');
  });

  test.each([
    [403, 'You are signed out. Reload the page'],
    [404, 'The live view is closed.'],
  ])('ends when our server answers %i, also without words', async (code, words) => {
    await visit(await sharing(world));
    await watch();
    await untilWatching();

    await page.route('**/live-views/*', (route) => route.fulfill({ status: code, body: '' }));
    try {
      await untilTold(words);
    } finally {
      await page.unroute('**/live-views/*');
    }
  });

  test('hangs up at Ring when the browser can not use its answer', async () => {
    const owner = await sharing(world);
    await visit(owner);
    await page.route('**/live-views', async (route) => {
      await route.fulfill({ response: await route.fetch(), body: 'v=0' });
    });

    await watch();

    await untilTold('The live view could not be opened.');
    await until('Ring has closed it', async () => (await sessionsOf(owner))[0] === 'closed');
    await page.unroute('**/live-views');
    await watch();
    await untilWatching();
  });

  test('waits for a connection to come back, and ends, here and at Ring, when it does not', async () => {
    const owner = await sharing(world);
    const own = await context.newPage();
    await own.addInitScript(`
      const Native = RTCPeerConnection;
      RTCPeerConnection = function () { return peer = new Native(); };
      become = (state) => {
        Object.defineProperty(peer, 'connectionState', { value: state, configurable: true });
        peer.dispatchEvent(new Event('connectionstatechange'));
      };`);
    await own.clock.install();
    await visitAs(own, owner.visitor, owner.path);
    await own.getByRole('button', { name: 'Watch live' }).click();
    await own.getByText('You are watching live.').waitFor();

    await own.evaluate(`become('disconnected')`);
    await own.clock.fastForward(3_000);
    await own.evaluate(`become('connected'); become('disconnected')`);
    await own.clock.fastForward(3_000);
    // If the page had given up, it would show the reason by then.
    await own.evaluate('fetch(location.href).then((response) => response.text())');
    expect(await own.getByText('You are watching live.').isVisible()).toBe(true);

    await own.clock.fastForward(3_000);
    await own.getByText('The picture has stopped').waitFor();
    await until('Ring has closed it', async () => (await sessionsOf(owner))[0] === 'closed');
    await own.close();
  });

  test('is told when the browser allows no WebRTC', async () => {
    await visit(await sharing(world));
    await page.evaluate('window.RTCPeerConnection = undefined');
    await watch();
    expect(await status()).toContain('Your browser does not allow live video');
  });

  test('met no error on the way', () => {
    expect(complaints).toEqual([]);
  });
});
