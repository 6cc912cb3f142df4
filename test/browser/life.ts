import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, Download, Page } from 'playwright-core';
import type { Tables } from '../../src/database/tables.js';
import { launchBrowser, newContext } from '../support/clients/browser.js';
import { arrived, follow, heading, press, reloadUntil, tabTo, words } from '../support/clients/person.js';
import { untilIdle } from '../support/features/inbox.js';
import { HOUR } from '../support/features/tokens.js';
import { tick } from '../support/waiting/periodic-tasks.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

/** A user's kind of browser. Each kind has a file of its own, so that the lives run side by side. */
export interface Way {
  hasScripts: boolean;
  viewport: { width: number; height: number };
  timezoneId: string;
}

const EMAIL = 'grace.hopper@example.com';
const NEW_EMAIL = 'amazing@grace.example.org';
const PASSWORD = 'correct horse battery staple';
const NEW_PASSWORD = 'an entirely different one';
const PAGE_SIZE = 25;
/** A user whom the simulator has from the start. */
const ADA = 'Ada Marsh';
const SAM = 'Sam Okafor';

const LATEST = 'Show the latest picture';

/** A life from installing the app to deleting the account, and once more from the beginning. */
export function livesALife({ hasScripts, viewport, timezoneId }: Way): void {
  let browser: Browser;
  let world: World;
  let context: BrowserContext;
  /**
   * The user's tab with our pages, and the one with Ring's. Only Ring's first page is opened by its address; everything
   * else is reached by links and forms.
   */
  let page: Page;
  let ring: Page;
  const trouble: string[] = [];

  beforeAll(async () => {
    [world, browser] = await Promise.all([startWorld({ patienceMs: 10_000 }), launchBrowser()]);
    // Ring tells by itself what was added and removed, as the real Ring does.
    await world.ring.setSettings({ automaticWebhooks: true });
    context = await newBrowser();
    [page, ring] = [await context.newPage(), await context.newPage()];
    await page.goto(world.ring.url);
  });
  afterAll(async () => {
    await context.close();
    await browser.close();
    await world.stop();
  });

  /** The browser of a person who has never been here. */
  async function newBrowser(): Promise<BrowserContext> {
    const options = { javaScriptEnabled: hasScripts, viewport, timezoneId, locale: 'en-GB', acceptDownloads: true };
    const made = await newContext(browser, options);
    const ours = [new URL(world.url).host, new URL(world.ring.url).host];
    made.on('request', (request) => {
      const { host, protocol } = new URL(request.url());
      if (protocol.startsWith('http') && !ours.includes(host)) trouble.push(`asked ${host}`);
    });
    made.on('console', (message) => {
      if (message.type() === 'error') trouble.push(`${message.page()?.url() ?? ''}: ${message.text()}`);
    });
    made.on('weberror', (error) => trouble.push(error.error().message));
    made.on('response', (response) => {
      if (response.status() >= 400) trouble.push(`${response.status()} ${new URL(response.url()).pathname}`);
    });
    return made;
  }

  /** The faults since the last call, which clears them. */
  const newTrouble = (): string[] => trouble.splice(0);

  const home = () => follow(page, 'Home');
  const main = () => words(page, page.getByRole('main'));
  const card = (index: number) => page.locator('.account').nth(index);
  const deviceLine = (name: string) =>
    page.getByRole('list', { name: 'Devices' }).getByRole('listitem').filter({ hasText: name });
  const open = (summary: string) => page.getByRole('heading', { name: summary, exact: true }).click();
  const schedules = (name = '') => page.locator('.schedule', { hasText: name });

  /** In the Ring app, continues as one of Ring's users. */
  async function asRingUser(name: string): Promise<void> {
    await ring.goto(world.ring.url);
    await follow(ring, `Continue as ${name}`);
    await heading(ring, name);
  }

  /** Something happens at a device or at Ring, a moment after the event before. */
  async function happens(button: string): Promise<void> {
    world.clock.advance(1);
    await press(ring, button);
    await until('the webhook is delivered', async () => (await words(ring)).includes('delivered'));
    await untilIdle(world);
  }

  /** A device records something of which Ring tells us nothing. */
  async function records(deviceId: string): Promise<void> {
    world.clock.advance(1);
    await world.ring.record({ user_id: deviceId.split('-')[0] ?? '', device_id: deviceId });
  }

  /** A time as the user's browser shows it. Without scripts, it is as the server wrote it. */
  const written = (iso: string): string =>
    hasScripts
      ? new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short', timeZone: timezoneId }).format(
          new Date(iso),
        )
      : new Intl.DateTimeFormat('en', {
          timeZone: 'UTC',
          year: 'numeric',
          month: 'short',
          day: 'numeric',
          hour: 'numeric',
          minute: '2-digit',
          timeZoneName: 'short',
        }).format(new Date(iso));

  async function expectTimesOfReader(): Promise<void> {
    const times = await page.locator('main time').all();
    expect(times.length).toBeGreaterThan(0);
    for (const time of times) {
      const [iso, text] = [(await time.getAttribute('datetime')) ?? '', await time.innerText()];
      // The time of a daily picture is in the time zone that was chosen for it, and names the zone.
      if (!hasScripts && !text.endsWith('UTC')) continue;
      expect(text.replaceAll(/\s/g, ' ')).toBe(written(iso).replaceAll(/\s/g, ' '));
    }
  }

  test('installs the app, reads what linking means, creates an account and is linked', async () => {
    await follow(page, `Continue as ${ADA}`);
    await press(page, 'Install');

    await heading(page, 'Link your Ring account');
    expect(page.url()).toBe(`${world.url}/ring/link`);
    expect(await main()).toMatch(
      /devices you picked.*email from Ring.*stop at any time.*only go on if you’ve just come/i,
    );
    await page.getByText('I’m new to').click();
    await page.getByRole('textbox', { name: 'Email address' }).fill(EMAIL);
    await page.getByLabel('Choose a password').fill(PASSWORD);
    await press(page, 'Create account and link');

    await heading(page, 'Your Ring account is linked');
    expect(await main()).toContain('Ring will send you an email');
    await asRingUser(ADA);
    expect(await words(ring)).toMatch(/Status completed Linked\. Linked to g\*\*\*r@example\.com/);
  });

  test('loads the page again that says so, and it still does', async () => {
    await page.reload();
    expect(newTrouble()).toEqual([]);
    await heading(page, 'Your Ring account is linked');
  });

  test('finds the shared devices and the subscription at home', async () => {
    await happens('Activate trial');
    await follow(page, 'Go to your home page');
    await heading(page, 'Your home');
    await reloadUntil(page, 'Back Garden');

    expect(await words(page, card(0))).toMatch(/^Linked Ring has confirmed/);
    for (const name of ['Front Door', 'Driveway']) {
      expect(await words(page, deviceLine(name))).toMatch(new RegExp(`^${name} Camera · Online as of .*\\d:\\d\\d`));
    }
    expect(await words(page, deviceLine('Back Garden'))).toMatch(/^Back Garden Camera · Offline as of .*\d:\d\d/);
    expect(await main()).toMatch(/Free trial, until .*\d:\d\d.*, for Back Garden, Driveway, Front Door/);
    await expectTimesOfReader();
  });

  test('reads about a device, and finds nothing there that looks as if it changed the device', async () => {
    await follow(page, 'Back Garden');
    await heading(page, 'Back Garden');
    expect(await main()).toMatch(/Offline As of .*You can watch live as soon as it is online again/);
    expect(await main()).toMatch(/No pictures yet Ring has a picture when the device has recorded something/);

    await follow(page, 'Back to your home');
    await follow(page, 'Front Door');
    await heading(page, 'Front Door');
    expect(await main()).toMatch(/WA, US.*Online As of/);
    await page.getByRole('img', { name: 'The zones in the picture of Front Door' }).waitFor();
    const zones = await words(page, page.locator('section', { hasText: 'Motion events only come from motion inside' }));
    expect(zones).toMatch(/Motion zone 1 covers .*about \d+ %.*Motion zone 2 covers.*Privacy zone/i);
    const abilities = await words(page, page.locator('section', { hasText: 'This is for reading only' }));
    expect(abilities).toMatch(/Video Up to 2160p.*Colour night vision.*To change a setting, open the Ring app/);
    expect(await page.locator('input[type="checkbox"], [role="switch"], input[type="radio"]').count()).toBe(0);
  });

  if (hasScripts) {
    test('watches live: frames arrive, the seconds run down, and the end is said', async () => {
      const frames = () =>
        page.evaluate<number>('document.querySelector("video").getVideoPlaybackQuality().totalVideoFrames');
      const secondsLeft = async () => parseInt(/\d+/.exec(await page.getByRole('timer').innerText())?.[0] ?? '');
      await page.getByRole('button', { name: 'Watch live' }).click();
      await page.getByText('You are watching live.').waitFor();
      await until('frames arrive', async () => (await frames()) > 5);
      await until('the seconds are shown', async () => (await secondsLeft()) > 50);
      world.clock.advance(20);
      await until('they run down', async () => (await secondsLeft()) <= 40);
      world.clock.advance(41);
      await page.getByText('Ring ends a live view after a minute at most. You can watch again.').waitFor();

      await page.getByRole('button', { name: 'Watch live' }).click();
      await until('frames arrive again', async () => (await frames()) > 5);
      await page.getByRole('button', { name: 'End live view' }).click();
      await page.getByText('The live view is closed.').waitFor();
      await until('it is closed at Ring', async () => (await world.ring.liveViews()).at(-1)?.state === 'closed');
    });
  } else {
    test('is told why there is no live view', async () => {
      expect(await main()).toContain('Your browser has to run JavaScript to show a live view.');
      expect(await page.getByRole('button', { name: 'Watch live' }).count()).toBe(0);
    });
  }

  describe('by keyboard alone', () => {
    const button = (name: string | RegExp) => page.getByRole('button', { name });
    const enter = () => arrived(page, () => page.keyboard.press('Enter'));
    /** After a form of this part has loaded the page, the part is on the screen, and the next Tab stop is in it. */
    async function expectToGoOnIn(part: string): Promise<void> {
      const title = page.getByRole('heading', { level: 2, name: part, exact: true });
      const top = (await title.boundingBox())?.y ?? Infinity;
      expect({ isOnScreen: top > -1 && top < viewport.height }).toEqual({ isOnScreen: true });
      await page.keyboard.press('Tab');
      const section = page.locator('section').filter({ has: title });
      expect({ focusIn: part, count: await section.locator(':focus').count() }).toEqual({ focusIn: part, count: 1 });
    }

    test('skips to the content, goes home and opens a device', async () => {
      await page.reload();
      await page.keyboard.press('Tab');
      expect(await page.locator(':focus').innerText()).toBe('Skip to the main content');
      await tabTo(page, page.getByRole('link', { name: 'Home', exact: true }));
      await enter();
      await heading(page, 'Your home');
      await tabTo(page, page.getByRole('link', { name: 'Skip to the main content' }), 1);
      await page.keyboard.press('Enter');
      await tabTo(page, page.getByRole('link', { name: 'Front Door' }), 3);
      await enter();
      await heading(page, 'Front Door');
    });

    test('asks for the latest picture, is told that nothing is recorded, and gets it once something is', async () => {
      if (!hasScripts) {
        await tabTo(page, button(LATEST));
        await enter();
        expect(await main()).toContain('Ring has recorded nothing lately.');
        await expectToGoOnIn('Pictures');
        await page.reload();
      }
      await records('ada-front-door');
      await tabTo(page, button(LATEST));
      await enter();
      await page
        .getByRole('link', { name: /^Picture of .*\d:\d\d/ })
        .first()
        .waitFor();
      await expectToGoOnIn('Pictures');
    });

    test('schedules pictures every hour', async () => {
      await tabTo(page, button('Schedule every hour'));
      await enter();
      expect(await words(page, schedules())).toMatch(/^Every hour Next picture: .*\d\d?:\d\d/);
      await expectToGoOnIn('Scheduled pictures');
    });

    test('schedules a picture every day', async () => {
      await page.reload();
      await tabTo(page, page.locator('summary', { hasText: 'Schedule more pictures' }));
      await page.keyboard.press('Enter');
      await tabTo(page, page.getByLabel('Time', { exact: true }));
      await page.keyboard.type('0730A');
      const zone = page.getByLabel('Time zone');
      await tabTo(page, zone);
      // A script selects the browser's time zone. Without scripts, the user does.
      if (hasScripts) expect(await zone.inputValue()).toBe('America/New_York');
      else await page.keyboard.type('Asia/Tokyo');
      await tabTo(page, button('Schedule once a day'), 1);
      await enter();
      expect(await schedules().count()).toBe(2);
      expect(await words(page, schedules('Every day'))).toContain(`Every day at 07:30 (${timezoneId})`);
      await expectToGoOnIn('Scheduled pictures');
    });

    test.each([
      ['pauses', /^Pause the schedule “Every hour”/, 'Paused by you.'],
      ['resumes', /^Resume the schedule “Every hour”/, 'Next picture:'],
    ])('%s a schedule', async (_does, name, says) => {
      await page.reload();
      await tabTo(page, button(name));
      await arrived(page, () => page.keyboard.press('Space'));
      expect(await words(page, schedules('Every hour'))).toContain(says);
      await expectToGoOnIn('Scheduled pictures');
    });

    test('deletes a schedule', async () => {
      await page.reload();
      await tabTo(page, button(/^Delete the schedule “Every day/));
      await enter();
      expect(await schedules().count()).toBe(1);
      expect(await words(page, schedules())).toContain('Every hour');
      await expectToGoOnIn('Scheduled pictures');
    });
  });

  test('finds the pictures fetched meanwhile in the strip, looks at them one by one, and goes back', async () => {
    world.clock.advance(HOUR);
    await records('ada-front-door');
    await tick('start due snapshots');
    const pictures = page.getByRole('link', { name: /^Picture of / });
    await until('two pictures are there', async () => {
      await page.reload();
      return (await pictures.count()) === 2;
    });
    await expectTimesOfReader();
    await arrived(page, () => pictures.first().click());
    await heading(page, 'Picture of Front Door');
    await expectTimesOfReader();
    expect(await page.evaluate<number>('document.querySelector(".viewer img").naturalWidth')).toBeGreaterThan(100);
    await tabTo(page, page.getByRole('link', { name: 'Older picture' }));
    await arrived(page, () => page.keyboard.press('Enter'));
    if (hasScripts) {
      await arrived(page, () => page.keyboard.press('ArrowLeft'));
      await page.getByRole('link', { name: 'Older picture' }).waitFor();
      await arrived(page, () => page.keyboard.press('Escape'));
    } else {
      await follow(page, 'Newer picture');
      await follow(page, 'Close, and go back to Front Door');
    }
    await heading(page, 'Front Door');
  });

  test('reads of an event as it happens', async () => {
    await follow(page, 'Events');
    await heading(page, 'Events');
    const seen = page.getByText('A person was seen');
    expect(await seen.count()).toBe(0);
    const loads: string[] = [];
    page.on('load', () => loads.push(page.url()));
    await happens('Motion at Front Door');
    if (!hasScripts) await page.reload();
    await seen.waitFor();
    expect(loads).toHaveLength(hasScripts ? 0 : 1);
    expect(await words(page, page.locator('.event').first())).toMatch(/^A person was seen Front Door .*\d\d?:\d\d/);
    await expectTimesOfReader();
  });

  test('watches what was recorded at an event, and goes back', async () => {
    // A recording ends some seconds after its event.
    world.clock.advance(10);
    const video = page.waitForResponse(/\/video$/);
    await follow(page, 'Watch the recording');
    await heading(page, 'Recording');
    expect(await main()).toMatch(/Front Door, .*It begins .*It is kept by Ring, not here\./);
    await expectTimesOfReader();
    expect((await video).headers()).toMatchObject({ 'content-type': 'video/mp4', 'cache-control': 'no-store' });
    await follow(page, 'Back to Front Door');
    await heading(page, 'Front Door');
    await follow(page, 'Events');
  });

  test('looks at one device and one kind of event, and at all of it again', async () => {
    await happens('Button press at Driveway');
    await happens('Motion at Driveway');
    const rows = () => page.locator('.event').allInnerTexts();
    await page.getByLabel('Device').selectOption('Driveway');
    await press(page, 'Show');
    expect((await rows()).every((row) => row.includes('Driveway'))).toBe(true);
    await page.getByLabel('What happened').selectOption('People');
    await press(page, 'Show');
    expect(await rows()).toHaveLength(1);
    expect(await page.getByLabel('Device').locator('option:checked').innerText()).toBe('Driveway');

    await page.getByLabel('What happened').selectOption('Vehicles');
    await press(page, 'Show');
    expect(await main()).toContain('Nothing matches');
    await follow(page, 'Show all events');
    // Three events have happened, and three devices were added.
    expect(await rows()).toHaveLength(6);
  });

  test('turns the pages while more happens, and misses nothing', async () => {
    await world.ring.sendEvents(
      Array.from({ length: 30 }, (_, index) => ({
        user_id: 'ada',
        type: 'motion_detected',
        timestamp: world.clock.now().getTime() + index,
      })),
    );
    await untilIdle(world);
    world.clock.advance(1);
    const ids = () => page.evaluate<string[]>("[...document.querySelectorAll('.event')].map(({ id }) => id)");
    await follow(page, 'Events');
    const newest = await ids();
    expect(newest).toHaveLength(PAGE_SIZE);
    await follow(page, 'Older events');
    const older = await ids();
    expect(older.filter((one) => newest.includes(one))).toEqual([]);

    await happens('Button press at Front Door');
    await happens('Button press at Driveway');
    await follow(page, 'Newer events');
    const back = await ids();
    expect(back.filter((one) => older.includes(one))).toEqual([]);
    // Two more events have come. The page next to the older one is as it was, and the newest events are one page
    // further.
    if (await page.getByRole('link', { name: 'Newer events' }).isVisible()) {
      expect(back).toEqual(newest);
      await follow(page, 'Newer events');
    }
    expect(await page.locator('.event-text').first().innerText()).toBe('Somebody rang the doorbell');
    expect(await ids()).toHaveLength(PAGE_SIZE);
  });

  test('is told since when a device is offline, and when it is back', async () => {
    await happens('Go offline: Front Door');
    const at = world.clock.now().toISOString();
    await home();
    expect(await words(page, deviceLine('Front Door'))).toBe(`Front Door Doorbell · Offline since ${written(at)}`);
    await follow(page, 'Front Door');
    expect(await main()).toMatch(/Offline Since .*You can watch live as soon as it is online again/);
    expect(await words(page, schedules())).toContain('Paused while the device is offline. Goes on by itself.');

    await happens('Go online: Front Door');
    await page.reload();
    expect(await main()).toContain(`Online Since ${written(world.clock.now().toISOString())}`);
    expect(await words(page, schedules())).toContain('Next picture:');
    await press(page, LATEST);
    expect(await page.getByRole('link', { name: /^Picture of / }).count()).toBe(3);
  });

  test('is told at home that a device was removed', async () => {
    await happens('Remove Driveway');
    await home();
    expect(await words(page, deviceLine('Driveway'))).toMatch(/^Driveway Removed in the Ring app .*\d\d?:\d\d/);
    expect(await page.getByRole('link', { name: 'Driveway', exact: true }).count()).toBe(0);
  });

  test('links a second Ring account with one click', async () => {
    await asRingUser(SAM);
    await press(ring, 'Install');
    await linkWithOneClick();
    await home();
    await reloadUntil(page, 'Porch');
    expect(await page.locator('.account h3').allInnerTexts()).toEqual(['Linked', 'Linked']);
    expect(await main()).toContain('Front Door');
    await asRingUser(SAM);
    expect(await words(ring)).toContain('Linked to g***r@example.com');
  });

  /** Where the Ring app has led, links with one click. */
  async function linkWithOneClick(): Promise<void> {
    await heading(ring, 'Link your Ring account');
    expect(await words(ring)).toContain(`You’re signed in as ${EMAIL}`);
    await press(ring, 'Link my Ring account');
    await heading(ring, 'Your Ring account is linked');
  }

  test('is told that Ring refuses a link, and makes it whole by linking again', async () => {
    // The other account's token is renewed first. Then Ring refuses to renew this one's.
    world.clock.advance(4 * HOUR);
    await follow(page, 'Front Door');
    await press(page, LATEST);
    expect(newTrouble()).toEqual([]);
    const refusal = { kind: 'body', status: 400, contentType: 'application/json', body: '{"error":"invalid_grant"}' };
    await world.ring.setFaults([{ endpoint: 'token', fault: refusal, times: 1 }]);
    await home();
    await follow(page, 'Porch');
    await press(page, LATEST);
    const told = await main();
    // Not every answer to a refused request is a success, and the browser reports that.
    newTrouble();

    await follow(page, /^(Home|Go to your home page)$/);
    const refused = page.locator('.account', { hasText: 'Has to be linked again' });
    expect(await words(page, refused)).toMatch(/In the Ring app, remove the app under My Apps and add it again.*Porch/);
    expect(await page.getByRole('link', { name: 'Porch', exact: true }).count()).toBe(0);
    expect(await page.getByRole('link', { name: 'Front Door' }).first().isVisible()).toBe(true);

    await asRingUser(SAM);
    await press(ring, 'Remove');
    await reloadUntil(page, 'Ended The app was removed in the Ring app.');
    world.clock.advance(10);
    await press(ring, 'Install');
    // Only Ring's history tells of this.
    await records('sam-porch');
    await linkWithOneClick();
    await follow(ring, 'Go to your home page');
    await follow(ring, 'Events');
    await reloadUntil(ring, /Motion Porch/);
    await follow(ring, 'Home');
    await reloadUntil(ring, 'Porch');
    await follow(ring, 'Porch');
    await records('sam-porch');
    await press(ring, LATEST);
    await ring.getByRole('link', { name: /^Picture of / }).waitFor();
    await page.reload();
    expect((await page.locator('.account h3').allInnerTexts()).filter((text) => text !== 'Ended')).toEqual([
      'Linked',
      'Linked',
    ]);
    expect(told).toMatch(/linked again/i);
  });

  test('downloads everything that was shown, and no secret', async () => {
    await follow(page, 'Account');
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('link', { name: 'Download my data' }).click(),
    ]);
    const text = await readFile(await download.path(), 'utf8');
    const data = JSON.parse(text) as Record<string, Record<string, unknown>[]> & { account: { email: string } };

    expect(data.account.email).toBe(EMAIL);
    const of = (name: string, member: string) => (data[name] ?? []).map((one) => one[member]);
    expect(of('links', 'status').filter((status) => status !== 'REMOVED')).toEqual(['COMPLETED', 'COMPLETED']);
    expect(of('devices', 'name')).toEqual(
      expect.arrayContaining(['Front Door', 'Driveway', 'Back Garden', 'Porch', 'Garage']),
    );
    expect(text).toContain('WA');
    expect(of('device_events', 'type')).toEqual(
      expect.arrayContaining(['motion_detected', 'button_press', 'device_offline', 'device_online']),
    );
    expect(of('device_events', 'type').length).toBeGreaterThan(30);
    expect(of('scheduled_operations', 'frequency')).toEqual(['HOURLY']);
    expect(of('subscriptions', 'sub_type')).toEqual(['trial']);
    const pictures = of('snapshots', 'picture_base64').map((picture) => Buffer.from(String(picture), 'base64'));
    expect(pictures.length).toBeGreaterThanOrEqual(4);
    for (const picture of pictures) expect(picture.length).toBeGreaterThan(100);
    expect(of('live_views', 'status')).toEqual(hasScripts ? ['ENDED', 'ENDED'] : []);

    const [user] = await world.sql<Pick<Tables['users'], 'password_hash'>>('SELECT password_hash FROM users');
    const sessions = await world.sql<Pick<Tables['sessions'], 'sid'>>('SELECT sid FROM sessions');
    const { RING_CLIENT_SECRET = '', RING_HMAC_KEY = '', SESSION_SECRET = '' } = world.environment;
    const secrets = [user?.password_hash ?? 'none', ...sessions.map(({ sid }) => sid)];
    for (const secret of [...secrets, RING_CLIENT_SECRET, RING_HMAC_KEY, SESSION_SECRET]) {
      expect(secret.length).toBeGreaterThan(10);
      expect(text).not.toContain(secret);
    }
    expect(text).not.toMatch(/sim-[ar]t-|"[^"]*(ciphertext|password|nonce|secret)[^"]*":/i);
  });

  test('changes the email address, and Ring learns its masked form', async () => {
    await open('Change email address');
    await page.getByLabel('New email address').fill(NEW_EMAIL);
    await page.getByLabel('Current password').locator('visible=true').fill(PASSWORD);
    await press(page, 'Change email address');
    expect(await main()).toContain(`Your email address is now ${NEW_EMAIL}`);
    for (const name of [ADA, SAM]) {
      await asRingUser(name);
      await reloadUntil(ring, 'Linked to a***g@grace.example.org');
    }
  });

  test('changes the password; another browser is signed out, and is told so and what to do', async () => {
    const other = await newBrowser();
    const elsewhere = await other.newPage();
    await elsewhere.goto(world.ring.url);
    await follow(elsewhere, `Continue as ${ADA}`);
    await follow(elsewhere, 'Open app');
    await signIn(elsewhere, NEW_EMAIL, PASSWORD);
    await heading(elsewhere, 'Your home');

    await open('Change password');
    await page.getByLabel('Current password').locator('visible=true').fill(PASSWORD);
    await page.getByLabel('New password').fill(NEW_PASSWORD);
    await press(page, 'Change password');
    expect(await main()).toContain('Your password is changed. Other browsers are signed out.');

    await follow(elsewhere, 'Events');
    const told = await words(elsewhere, elsewhere.getByRole('main'));
    await signIn(elsewhere, NEW_EMAIL, NEW_PASSWORD);
    await heading(elsewhere, /^(Your home|Events)$/);
    await other.close();
    expect(told).toMatch(/signed out|session has ended/i);
    expect(told).toMatch(/sign in/i);
  });

  /** In the Ring app, opens our app in another tab of the same browser, and signs out there. */
  async function signOutInAnotherTab(): Promise<void> {
    await asRingUser(ADA);
    await follow(ring, 'Open app');
    await press(ring, 'Sign out');
  }

  test('signs out in another tab, and a download from this one does not save a page under the name of the data', async () => {
    await signOutInAnotherTab();
    // One of the two comes: a file or a page.
    const saved = new Promise<Download>((resolve) => page.once('download', resolve));
    const shown = new Promise<undefined>((resolve) =>
      page.once('load', () => {
        resolve(undefined);
      }),
    );
    await page.getByRole('link', { name: 'Download my data' }).click();
    const path = await (await Promise.race([saved, shown]))?.path();
    expect(path === undefined ? '' : await readFile(path, 'utf8')).not.toContain('<!doctype html>');
  });

  test.each([
    ['a schedule', /^(Schedule every hour|Pause the schedule.*)$/],
    ['a picture', LATEST],
    ['signing out', 'Sign out'],
  ])('signs out in another tab, and is told so when this one sends %s', async (_what, name) => {
    await page.goto(world.ring.url);
    await follow(page, `Continue as ${ADA}`);
    await follow(page, 'Open app');
    if (await page.getByRole('heading', { level: 1, name: /^Welcome/ }).isVisible()) {
      await signIn(page, NEW_EMAIL, NEW_PASSWORD);
    }
    await follow(page, 'Front Door');
    await signOutInAnotherTab();
    await press(page, name);
    newTrouble();
    await heading(page, /^Welcome/);
    if (name !== 'Sign out') expect(await main()).toMatch(/signed (in any more|out)|session has ended/i);
    await signIn(page, NEW_EMAIL, NEW_PASSWORD);
    await follow(page, 'Account');
  });

  async function signIn(tab: Page, email: string, password: string): Promise<void> {
    await tab.getByRole('textbox', { name: 'Email address' }).fill(email);
    await tab.getByLabel('Password', { exact: true }).fill(password);
    await press(tab, 'Sign in');
  }

  test('met no other host, no error and nothing that the content policy forbids', () => {
    expect(newTrouble()).toEqual([]);
  });

  test('deletes the account, and can go back to nothing of it', async () => {
    await open('Delete my account');
    await page.getByLabel('Type DELETE to confirm').fill('DELETE');
    await page.getByLabel('Current password').locator('visible=true').fill(NEW_PASSWORD);
    await press(page, 'Delete my account for good');
    await heading(page, 'Your account is deleted');
    expect(await main()).toMatch(/go to My Apps.*Remove this app/);

    await page.goBack();
    await heading(page, /^Welcome/);
    expect(await words(page)).not.toContain(NEW_EMAIL);
    await untilIdle(world);
    for (const table of ['users', 'account_links', 'devices', 'device_events', 'snapshots', 'scheduled_operations']) {
      expect({ table, rows: await world.sql(`SELECT * FROM ${table}`) }).toEqual({ table, rows: [] });
    }
  });

  test('can no longer sign in, and removes the app in the Ring app', async () => {
    expect(newTrouble()).toEqual([]);
    await signIn(page, NEW_EMAIL, NEW_PASSWORD);
    expect(await words(page, page.getByRole('alert'))).toContain('The email address or the password is not right.');
    expect(newTrouble().join()).toContain('401');

    for (const name of [ADA, SAM]) {
      await asRingUser(name);
      await press(ring, 'Remove');
      await ring.getByRole('button', { name: 'Install' }).waitFor();
    }
    await untilIdle(world);
  });

  test('begins anew with the same email address and the same Ring account, and finds nothing of the life before', async () => {
    world.clock.advance(10);
    await asRingUser(ADA);
    await press(ring, 'Install');
    await heading(ring, 'Link your Ring account');
    await ring.getByText('I’m new to').click();
    await ring.getByRole('textbox', { name: 'Email address' }).fill(NEW_EMAIL);
    await ring.getByLabel('Choose a password').fill(PASSWORD);
    await press(ring, 'Create account and link');
    await heading(ring, 'Your Ring account is linked');
    await follow(ring, 'Go to your home page');
    await reloadUntil(ring, 'Front Door');
    expect(await ring.locator('.account h3').allInnerTexts()).toEqual(['Linked']);
    expect(await words(ring)).not.toContain('A person was seen');
    await follow(ring, 'Front Door');
    expect(await words(ring)).toMatch(/No pictures yet.*Schedule pictures/);
    await press(ring, 'Sign out');
    await heading(ring, /^Welcome/);
    await ring.goBack();
    await heading(ring, /^Welcome/);
    expect(newTrouble()).toEqual([]);
  });
}
