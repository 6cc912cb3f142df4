import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { launchBrowser, newContext } from '../support/clients/browser.js';
import { untilIdle } from '../support/features/inbox.js';
import { newEmail, PASSWORD } from '../support/features/linking.js';
import { newResident, type Resident } from '../support/features/my-data.js';
import { startWorld, type World } from '../support/worlds/world.js';

const NEW_PASSWORD = 'an entirely different one';
const WAYS = [
  { way: 'with scripts on a phone', javaScriptEnabled: true, viewport: { width: 320, height: 640 } },
  { way: 'without scripts on a desktop', javaScriptEnabled: false, viewport: { width: 1280, height: 800 } },
] as const;

let world: World;
let browser: Browser;
beforeAll(async () => {
  [world, browser] = await Promise.all([startWorld(), launchBrowser()]);
});
afterAll(async () => {
  await browser.close();
  await world.stop();
});

describe.each(WAYS)('by keyboard, a person $way', ({ javaScriptEnabled, viewport }) => {
  let context: BrowserContext;
  let page: Page;
  let resident: Resident;
  let email: string;
  beforeAll(async () => {
    resident = await newResident(world);
    email = newEmail(`grace-${viewport.width}`);
    context = await newContext(browser, { javaScriptEnabled, viewport, acceptDownloads: true });
    page = await context.newPage();
    await page.goto(`${world.url}/ring/home`);
    await page.locator('#sign-in-email').fill(resident.email);
    await page.locator('#sign-in-password').fill(PASSWORD);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: 'Your home' }).waitFor();
    await page.goto(`${world.url}/account`);
  });
  afterAll(() => context.close());

  /** Opens a part of the page if it is closed, and types into its fields one after the other. */
  const fillIn = async (part: string, button: string, texts: string[]) => {
    const details = page.locator(`details#${part}`);
    if ((await details.getAttribute('open')) === null) {
      await details.locator('summary').focus();
      await page.keyboard.press('Enter');
    }
    await details.locator('summary').focus();
    for (const typed of texts) {
      await page.keyboard.press('Tab');
      await page.keyboard.press('Control+A');
      await page.keyboard.type(typed);
    }
    await page.keyboard.press('Tab');
    expect(await details.locator('button:focus').textContent()).toBe(button);
  };

  const send = async () => {
    await Promise.all([page.waitForEvent('load'), page.keyboard.press('Enter')]);
  };

  test('mistypes the password and finds the cursor where it is to be corrected', async () => {
    await fillIn('email', 'Change email address', [email, 'not the password']);
    await send();

    await page.getByText('This is not your current password').waitFor();
    expect(await page.locator('input:focus').getAttribute('id')).toBe('email-current');
    expect(await page.locator('input:focus').getAttribute('aria-invalid')).toBe('true');
    expect(await page.locator('#email-new').inputValue()).toBe(email);
    expect(await page.title()).toContain('Problem:');

    await page.keyboard.type(PASSWORD);
    await send();
    await page.getByText('Your email address is now').waitFor();
    expect(await page.locator('.page-title').textContent()).toContain(email);
  });

  test('changes the password', async () => {
    await fillIn('password', 'Change password', [PASSWORD, NEW_PASSWORD]);
    await send();
    await page.getByText('Your password is changed').waitFor();
  });

  test('downloads the data', async () => {
    const link = page.getByRole('link', { name: 'Download my data' });
    await link.focus();
    const [download] = await Promise.all([page.waitForEvent('download'), page.keyboard.press('Enter')]);

    expect(download.suggestedFilename()).toBe('my-data.json');
    const data = JSON.parse(await readFile(await download.path(), 'utf8')) as { account: object; devices: unknown[] };
    expect(data.account).toMatchObject({ email });
    expect(data.devices).toHaveLength(2);
  });

  test('deletes the account, and is told to remove the app in the Ring app', async () => {
    await fillIn('delete', 'Delete my account for good', ['delete', 'not the password']);
    await send();
    await page.getByText('This is not your current password').waitFor();

    expect(await page.locator('#delete-confirmation').inputValue()).toBe('delete');
    await page.keyboard.type(NEW_PASSWORD);
    await send();

    await page.getByRole('heading', { level: 1, name: 'Your account is deleted' }).waitFor();
    expect(await page.locator('main').textContent()).toContain('My Apps');
    await untilIdle(world);
    expect(await world.sql('SELECT 1 FROM users WHERE id = $1', [resident.userId])).toEqual([]);
    expect(await world.sql('SELECT 1 FROM devices WHERE account_id = $1', [resident.ringUser.account_id])).toEqual([]);
    await page.goto(`${world.url}/account`);
    await page.getByRole('heading', { level: 1, name: /^Welcome/ }).waitFor();
  });
});
