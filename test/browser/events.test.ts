import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { launchBrowser, newContext } from '../support/clients/browser.js';
import type { Visitor } from '../support/clients/visitor.js';
import { deliver, newEvent } from '../support/clients/webhooks.js';
import { type Owner, sharing } from '../support/features/devices.js';
import { recorded } from '../support/features/events.js';
import { untilProcessed } from '../support/features/inbox.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
/** Another instance on the same database. */
let other: string;
let browser: Browser;
beforeAll(async () => {
  [world, browser] = await Promise.all([startWorld(), launchBrowser()]);
  other = `http://localhost:${(await world.startAnother()).port}`;
});
afterAll(async () => {
  await Promise.all(contexts.map((context) => context.close()));
  await browser.close();
  await world.stop();
});

const contexts: BrowserContext[] = [];
/** The visitor's session in a browser. */
async function pageOf({ cookies }: Visitor, options: BrowserContextOptions = {}): Promise<Page> {
  const context = await newContext(browser, options);
  contexts.push(context);
  await context.addCookies(cookies.map((cookie) => ({ ...cookie, url: world.url })));
  return context.newPage();
}

async function freshOwner(): Promise<Owner> {
  const owner = await sharing(world, { name: 'Front Door' });
  await untilProcessed(world, owner.ringUser);
  await world.sql('DELETE FROM device_events WHERE account_id = $1', [owner.ringUser.account_id]);
  return owner;
}

const ago = (minutes: number): Date => new Date(world.clock.now().getTime() - minutes * 60_000);

/** Ring sends a button press, and its webhook reaches the other instance. */
async function ring({ ringUser, device }: Owner, minutesAgo = 0): Promise<void> {
  const timestamp = ago(minutesAgo).getTime();
  const event = newEvent({ accountId: ringUser.account_id, deviceId: device.id, timestamp });
  expect((await deliver(other, JSON.stringify(event))).status).toBe(200);
}

/** The answer to the request by which the page reads the present events. */
const lookOf = (page: Page) => page.waitForResponse((response) => response.request().resourceType() === 'fetch');

/** Goes to a page by `lead`, and waits until its event stream is open. */
async function live(page: Page, lead: () => Promise<unknown>): Promise<void> {
  await Promise.all([page.waitForResponse(/\/events\/stream$/), lookOf(page), lead()]);
}
const openLive = (page: Page) => live(page, () => page.goto(`${world.url}/events`));

const texts = (page: Page): Promise<string[]> => page.locator('.event-text').allTextContents();

describe('an event', () => {
  test('appears after its webhook on another instance, without reloading', async () => {
    const owner = await freshOwner();
    await recorded(world, owner, [{ occurredAt: ago(5) }]);
    const page = await pageOf(owner.visitor);
    await openLive(page);
    expect(await texts(page)).toEqual(['A person was seen']);
    const navigations: string[] = [];
    page.on('framenavigated', (frame) => navigations.push(frame.url()));

    await ring(owner);
    await page.getByText('Somebody rang the doorbell').waitFor();

    expect(await texts(page)).toEqual(['Somebody rang the doorbell', 'A person was seen']);
    expect(await page.getByRole('status').textContent()).toBe('1 new event since you opened this page');
    expect(navigations).toEqual([]);
  });

  test('goes from the open page with its device; those of others stay, and the focus with them', async () => {
    const owner = await freshOwner();
    const { visitor, ringUser, device } = owner;
    await recorded(world, owner, [{ occurredAt: ago(5) }, { deviceId: 'other', occurredAt: ago(6) }]);
    await world.sql(`INSERT INTO devices (account_id, id, name, fetched_at) VALUES ($1, 'other', 'Garage', $2)`, [
      ringUser.account_id,
      ago(1),
    ]);
    const page = await pageOf(visitor);
    await openLive(page);
    expect(await page.locator('.event a', { hasNotText: 'Watch the recording' }).allTextContents()).toEqual([
      'Front Door',
      'Garage',
    ]);
    const before = await page.getByRole('status').textContent();
    await page.locator('.event a', { hasText: 'Garage' }).focus();

    world.clock.advance(10);
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'device_removed', device_id: device.id });
    await page.getByRole('link', { name: 'Front Door' }).waitFor({ state: 'detached' });
    expect(await page.locator('.event a', { hasNotText: 'Watch the recording' }).allTextContents()).toEqual(['Garage']);
    expect(await page.locator(':focus').textContent()).toBe('Garage');
    expect(await page.getByRole('status').textContent()).toBe(before);
  });

  test('goes with the last device, and the page says that none is shared', async () => {
    const owner = await freshOwner();
    await recorded(world, owner, [{ occurredAt: ago(5) }]);
    const page = await pageOf(owner.visitor);
    await openLive(page);
    expect(await texts(page)).toEqual(['A person was seen']);

    world.clock.advance(10);
    await world.ring.sendEvent({ user_id: owner.ringUser.id, type: 'device_removed', device_id: owner.device.id });

    await page.getByRole('heading', { name: 'No devices are shared yet' }).waitFor();
    expect(await texts(page)).toEqual([]);
  });

  test('that moves up after others were removed is no news: the link to older events leads to it', async () => {
    const owner = await freshOwner();
    const { visitor, ringUser, device } = owner;
    const garage = Array.from({ length: 30 }, (_, index) => ({ deviceId: 'other', occurredAt: ago(10 + index) }));
    await recorded(world, owner, [{ occurredAt: ago(5) }, ...garage]);
    await world.sql(`INSERT INTO devices (account_id, id, name, fetched_at) VALUES ($1, 'other', 'Garage', $2)`, [
      ringUser.account_id,
      ago(1),
    ]);
    const page = await pageOf(visitor);
    await openLive(page);
    expect((await texts(page)).length).toBe(25);

    world.clock.advance(10);
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'device_removed', device_id: device.id });
    await page.getByRole('link', { name: 'Front Door' }).waitFor({ state: 'detached' });

    expect((await texts(page)).length).toBe(24);
    expect(await page.getByRole('status').textContent()).not.toContain('since you opened');
    await page.getByRole('link', { name: 'Older events' }).click();
    await page.getByRole('link', { name: 'Newer events' }).waitFor();
    expect((await texts(page)).length).toBe(6);
  });

  test('that does not arrive whole is asked for again: refused, cut off, broken off in the middle', async () => {
    const owner = await freshOwner();
    const page = await pageOf(owner.visitor);
    const errors: string[] = [];
    page.on('pageerror', (error) => errors.push(error.message));
    await openLive(page);
    await page.evaluate(`
      const { text } = Response.prototype;
      Response.prototype.text = function () {
        Response.prototype.text = text;
        return Promise.reject(new TypeError('broken off'));
      };`);
    const breakages = ['refuse', 'cut'];
    await page.route('**/events', (route) => {
      const breakage = breakages.shift();
      if (breakage === 'refuse') return route.fulfill({ status: 503, body: 'not now' });
      if (breakage === 'cut') return route.abort();
      return route.continue();
    });

    await ring(owner);

    await page.getByText('Somebody rang the doorbell').waitFor();
    expect(breakages).toEqual([]);
    expect(await page.evaluate('Response.prototype.text.toString()')).toContain('[native code]');
    expect(errors).toEqual([]);
  });

  test('is waited for again by a page that is back from the memory of the browser', async () => {
    const owner = await freshOwner();
    const page = await pageOf(owner.visitor);
    await openLive(page);
    const stream = page.waitForRequest(/\/events\/stream$/);
    await page.evaluate(`dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))`);
    await stream;

    await ring(owner);

    await page.getByText('Somebody rang the doorbell').waitFor();
  });

  test('appears without scripts when the page is loaded again', async () => {
    const owner = await freshOwner();
    const page = await pageOf(owner.visitor, { javaScriptEnabled: false });
    await page.goto(`${world.url}/events`);
    expect(await page.getByText('No events yet').isVisible()).toBe(true);

    await ring(owner);
    await untilProcessed(world, owner.ringUser);
    await page.reload();

    expect(await texts(page)).toEqual(['Somebody rang the doorbell']);
    expect(await page.locator('.event time').textContent()).toMatch(/UTC$/);
  });

  test('takes the place of the words that there is none', async () => {
    const owner = await freshOwner();
    const page = await pageOf(owner.visitor);
    await openLive(page);
    await ring(owner);
    await page.getByText('Somebody rang the doorbell').waitFor();
    expect(await page.getByText('No events yet').count()).toBe(0);
    expect(await page.getByRole('status').textContent()).toBe('1 new event since you opened this page');
  });

  test('comes in where it belongs, and leaves the focus and the reader’s place where they are', async () => {
    const owner = await freshOwner();
    await recorded(
      world,
      owner,
      Array.from({ length: 30 }, (_, index) => ({ occurredAt: ago(10 * index + 10) })),
    );
    const page = await pageOf(owner.visitor, { viewport: { width: 320, height: 640 } });
    await openLive(page);
    const older = await page.getByRole('link', { name: 'Older events' }).getAttribute('href');
    // The page is scrolled to the middle, where the keyboard focus is.
    await page.evaluate(`
      reading = document.querySelectorAll('.event a')[15];
      reading.focus();
      reading.scrollIntoView({ block: 'center' });`);
    const top = 'reading.getBoundingClientRect().top';
    const before = await page.evaluate<number>(top);
    expect(await page.evaluate<number>('window.scrollY')).toBeGreaterThan(0);

    await ring(owner);
    await ring(owner, 25);
    await until('both are there', async () => (await texts(page)).length === 27);

    const words = await texts(page);
    expect([words[0], words[3], words[4]]).toEqual([
      'Somebody rang the doorbell',
      'Somebody rang the doorbell',
      'A person was seen',
    ]);
    expect(await page.evaluate('document.activeElement === reading')).toBe(true);
    expect(Math.abs((await page.evaluate<number>(top)) - before)).toBeLessThan(2);
    expect(await page.getByRole('status').textContent()).toBe('2 new events since you opened this page');
    // The list has grown at its beginning only.
    expect(await page.getByRole('link', { name: 'Older events' }).getAttribute('href')).toBe(older);
  });

  test('is one of many: after a gap the page begins anew', async () => {
    const owner = await freshOwner();
    await recorded(
      world,
      owner,
      Array.from({ length: 30 }, (_, index) => ({ occurredAt: ago(100 + index) })),
    );
    const page = await pageOf(owner.visitor);
    await openLive(page);
    const former = await page.getByRole('link', { name: 'Older events' }).getAttribute('href');

    await recorded(
      world,
      owner,
      Array.from({ length: 40 }, (_, index) => ({ occurredAt: ago(10 + index), subtype: 'vehicle' })),
    );
    await ring(owner);
    await page.getByText('Somebody rang the doorbell').waitFor();

    expect(await texts(page)).toEqual(['Somebody rang the doorbell', ...Array<string>(24).fill('A vehicle was seen')]);
    expect(await page.getByRole('status').textContent()).toBe('At least 25 new events since you opened this page');

    await ring(owner);
    await page.getByText('26 new events').waitFor();
    expect(await page.getByRole('status').textContent()).toBe('At least 26 new events since you opened this page');
    await page.getByRole('link', { name: 'Older events' }).click();
    await page.getByRole('link', { name: 'Newer events' }).waitFor();
    expect(page.url()).not.toBe(new URL(former ?? '', world.url).href);
    expect(await texts(page)).toEqual([
      ...Array<string>(16).fill('A vehicle was seen'),
      ...Array<string>(9).fill('A person was seen'),
    ]);
  });

  test('is not shown by a filter that it does not match', async () => {
    const owner = await freshOwner();
    await recorded(world, owner, [{ occurredAt: ago(5) }]);
    const page = await pageOf(owner.visitor);
    await openLive(page);
    await page.getByLabel('What happened').selectOption('People');
    await live(page, () => page.getByRole('button', { name: 'Show', exact: true }).press('Enter'));
    expect(page.url()).toContain('kind=person');

    await Promise.all([lookOf(page), ring(owner)]);
    const person = newEvent({
      accountId: owner.ringUser.account_id,
      deviceId: owner.device.id,
      type: 'motion_detected',
      timestamp: ago(0).getTime(),
    });
    await deliver(other, JSON.stringify({ ...person, data: { ...person.data, subType: 'human' } }));
    await until('the person is there', async () => (await texts(page)).length === 2);

    expect(await texts(page)).toEqual(['A person was seen', 'A person was seen']);
  });

  test('is not waited for by a page that is not visible', async () => {
    const owner = await freshOwner();
    const page = await pageOf(owner.visitor);
    await openLive(page);
    const hide = (hidden: boolean) =>
      page.evaluate(`Object.defineProperty(document, 'hidden', { value: ${hidden}, configurable: true });
                     document.dispatchEvent(new Event('visibilitychange'));`);
    const closed = page.waitForEvent('requestfailed', (request) => request.url().endsWith('/events/stream'));
    await hide(true);
    await closed;
    await ring(owner);
    await untilProcessed(world, owner.ringUser);
    expect(await texts(page)).toEqual([]);

    await hide(false);
    await page.getByText('Somebody rang the doorbell').waitFor();
  });

  test('is not waited for after its user has signed out: the page says so', async () => {
    const owner = await freshOwner();
    const page = await pageOf(owner.visitor);
    await openLive(page);
    await owner.visitor.open('/ring/home');
    await owner.visitor.submit('/sign-out');
    await ring(owner);
    await page.getByText('This page is no longer up to date. Reload it to go on.').waitFor();
    expect(await texts(page)).toEqual([]);
  });
});

test('times are in the reader’s time zone and language, for machines as they were', async () => {
  const owner = await freshOwner();
  await recorded(world, owner, [{ occurredAt: new Date('2026-03-05T20:07:00Z') }]);
  const timeOf = async (options: BrowserContextOptions) => {
    const page = await pageOf(owner.visitor, options);
    await openLive(page);
    const time = page.locator('.event time').last();
    await ring(owner);
    await until('a later one is there', async () =>
      /\d/.test((await page.locator('.event time').first().textContent()) ?? ''),
    );
    return Promise.all([time.textContent(), time.getAttribute('lang'), time.getAttribute('datetime')]);
  };
  const machine = '2026-03-05T20:07:00.000Z';

  expect(await timeOf({ timezoneId: 'Asia/Tokyo', locale: 'de-DE' })).toEqual(['06.03.2026, 05:07', 'de-DE', machine]);
  const american = await timeOf({ timezoneId: 'America/New_York', locale: 'en-US' });
  // A narrow space stands before AM and PM.
  expect(american.map((text) => text?.replace(/\s/g, ' '))).toEqual(['Mar 5, 2026, 3:07 PM', 'en-US', machine]);
});

test('an event that appears has its time in the reader’s time zone at once', async () => {
  const owner = await freshOwner();
  const page = await pageOf(owner.visitor, { timezoneId: 'Asia/Tokyo', locale: 'de-DE' });
  await openLive(page);
  await ring(owner);
  await page.getByText('Somebody rang the doorbell').waitFor();
  expect(await page.locator('.event time').textContent()).toMatch(/^\d\d\.\d\d\.\d{4}, \d\d:\d\d$/);
});
