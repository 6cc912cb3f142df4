import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { launchBrowser, newContext } from '../support/clients/browser.js';
import { arrived } from '../support/clients/person.js';
import { startWorld, type World } from '../support/worlds/world.js';

const PASSWORD = 'correct horse battery staple';
const WAYS = [
  { way: 'with scripts on a phone', javaScriptEnabled: true, viewport: { width: 320, height: 640 } },
  { way: 'without scripts on a desktop', javaScriptEnabled: false, viewport: { width: 1280, height: 800 } },
] as const;

let world: World;
let browser: Browser;
beforeAll(async () => {
  [world, browser] = await Promise.all([startWorld({ patienceMs: 10_000 }), launchBrowser()]);
});
afterAll(async () => {
  await browser.close();
  await world.stop();
});

describe.each(WAYS)('a person $way', ({ javaScriptEnabled, viewport }) => {
  let context: BrowserContext;
  let page: Page;
  const foreignHosts = new Set<string>();
  const complaints: string[] = [];

  beforeAll(async () => {
    context = await newContext(browser, { javaScriptEnabled, viewport });
    page = await context.newPage();
    page.on('request', (request) => {
      const { host } = new URL(request.url());
      if (![new URL(world.url).host, new URL(world.ring.url).host].includes(host)) foreignHosts.add(host);
    });
    page.on('console', (message) => {
      if (message.type() === 'error') complaints.push(message.text());
    });
    page.on('pageerror', (error) => complaints.push(error.message));
  });
  afterAll(() => context.close());

  test('creates an account on the way, and is linked', async () => {
    const ringUser = await world.ring.createUser();
    await installInAppstore(page, ringUser.id);

    await page.waitForURL(`${world.url}/ring/link`);
    await page.getByText('I’m new to').click();
    await page.locator('#sign-up-email').fill(`ada-${viewport.width}@example.com`);
    await page.locator('#sign-up-password').fill(PASSWORD);
    await page.getByRole('button', { name: 'Create account and link' }).click();

    await expectHeading(page, 'Your Ring account is linked');
  });

  test('signs out, mistypes the password, signs in by keyboard alone and is linked', async () => {
    await page.goto(`${world.url}/ring/home`);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await expectHeading(page, /^Welcome/);
    const ringUser = await world.ring.createUser();
    await installInAppstore(page, ringUser.id);

    await signInByKeyboard(page, `ada-${viewport.width}@example.com`, 'not the password');
    await page.getByRole('alert').waitFor();
    await signInByKeyboard(page, `ada-${viewport.width}@example.com`, PASSWORD);

    await expectHeading(page, 'Your Ring account is linked');
    expect((await world.ring.integrationOf(ringUser))?.status).toBe('completed');
  });

  test('is told what to do when the link has expired', async () => {
    const ringUser = await world.ring.createUser();
    await world.ring.install(ringUser);
    const { url } = await world.ring.linkUrl(ringUser);
    await page.goto(url.replace(/time=\d+/, 'time=1500000000000'));
    await expectHeading(page, 'This page has expired');
  });

  test('met no third-party host and no error on the way', () => {
    expect([...foreignHosts]).toEqual([]);
    // The browser reports each answer that is no success. Two of these answers are refusals on purpose.
    expect(complaints.filter((text) => !/status of (400|401)/.test(text))).toEqual([]);
  });
});

test('of two browsers that race for one Ring account, one links it and the other is told', async () => {
  const ringUser = await world.ring.createUser();
  await world.ring.install(ringUser);
  const { url } = await world.ring.linkUrl(ringUser);
  const pages = await Promise.all([newcomerAt(url, 'first'), newcomerAt(url, 'second')]);

  await Promise.all(pages.map((page) => page.getByRole('button', { name: 'Create account and link' }).click()));
  await Promise.all(pages.map((page) => page.getByRole('heading', { name: /is linked/ }).waitFor()));

  const headings = await Promise.all(pages.map((page) => page.getByRole('heading', { level: 1 }).textContent()));
  expect(headings.sort()).toEqual(['This Ring account is linked to another account', 'Your Ring account is linked']);
  expect((await world.ring.integrationOf(ringUser))?.status).toBe('completed');
  await Promise.all(pages.map((page) => page.context().close()));
});

/** A new browser at the link page, with the form for a new account filled in. */
async function newcomerAt(url: string, name: string): Promise<Page> {
  const context = await newContext(browser);
  const page = await context.newPage();
  await page.goto(url);
  await page.getByText('I’m new to').click();
  await page.locator('#sign-up-email').fill(`${name}-of-two@example.com`);
  await page.locator('#sign-up-password').fill(PASSWORD);
  return page;
}

async function installInAppstore(page: Page, userId: string): Promise<void> {
  await page.goto(`${world.ring.url}/users/${userId}`);
  await page
    .getByRole('button', { name: /install/i })
    .first()
    .click();
}

async function signInByKeyboard(page: Page, email: string, password: string): Promise<void> {
  await page.locator('#sign-in-email').fill('');
  await page.locator('#sign-in-email').focus();
  await page.keyboard.type(email);
  await page.keyboard.press('Tab');
  await page.keyboard.type(password);
  await arrived(page, () => page.keyboard.press('Enter'));
}

async function expectHeading(page: Page, heading: string | RegExp): Promise<void> {
  await page.getByRole('heading', { level: 1, name: heading }).waitFor();
}
