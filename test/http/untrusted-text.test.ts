import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import type { Tables } from '../../src/database/tables.js';
import { launchBrowser } from '../support/clients/browser.js';
import { send } from '../support/clients/http.js';
import type { Visitor } from '../support/clients/visitor.js';
import { deliver, newEvent } from '../support/clients/webhooks.js';
import { sharing } from '../support/features/devices.js';
import { untilIdle } from '../support/features/inbox.js';
import { linked, PASSWORD } from '../support/features/linking.js';
import type { Fault } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
let browser: Browser;
beforeAll(async () => {
  [world, browser] = await Promise.all([startWorld(), launchBrowser()]);
});
afterEach(() => world.ring.setFaults([]));
afterAll(async () => {
  await browser.close();
  await world.stop();
});

/** Texts that run, open or close something if they are taken for anything but text. */
const HOSTILE = [
  ['an image', `<img src=x onerror=alert(1)>`],
  ['a script behind a quote', `"><script>alert(1)</script>`],
  ['a script behind an apostrophe', `'><script>alert(1)</script>`],
  ['the ends of elements', `</script></style></title></textarea></select></svg><img src=x onerror=alert(1)>`],
  ['an attribute', `" onmouseover="alert(1)" autofocus onfocus="alert(1)" x="`],
  ['entities', `&lt;b&gt; &amp;amp; &#60;script&#62;alert(1)&#60;/script&#62;`],
  ['the address of a script', `javascript:alert(1)`],
  ['a template', '<%= 7 * 7 %> ${7 * 7} {{7 * 7}}'],
  ['a comment', `--><!-- <script>alert(1)</script> -->`],
] as const;

/** A text of this kind without spaces. */
const OPAQUE = `"><img/src=x/onerror=alert(1)><script>alert(1)</script>'&amp;javascript:`;

const SQUARE = [
  { x: 0.1, y: 0.1 },
  { x: 0.6, y: 0.1 },
  { x: 0.6, y: 0.6 },
];

/** A device of Ring's with the same text in each of its attributes. */
function deviceSaying(text: string, id: string): object {
  const zones = [{ id: text, vertices: SQUARE }];
  const has = (name: string) => ({ data: { type: name, id: `${id}-${name}` }, links: { related: text } });
  const included = (type: string, attributes: object) => ({ type, id: `${id}-${type}`, attributes });
  return {
    data: [
      {
        type: 'devices',
        id,
        attributes: { name: text, kind: text },
        relationships: {
          status: has('device-status'),
          capabilities: has('device-capabilities'),
          configurations: has('device-configurations'),
          location: has('locations'),
        },
      },
    ],
    included: [
      included('device-status', { online: true, reason: text }),
      included('locations', { country: text, state: text, street: text }),
      included('device-capabilities', {
        video: {
          codecs: [text, 'AVC'],
          ratio: text,
          max_resolution: text,
          supported_resolutions: [text],
          configurations: [text],
        },
        motion_detection: { configurations: [text, 'motion_zones'] },
        image_enhancements: { configurations: [text, 'privacy_zones'] },
        [text]: { configurations: [text] },
      }),
      included('device-configurations', {
        motion_detection: { enabled: text, motion_zones: zones },
        image_enhancements: { hdr: text, [text]: text, privacy_zones: zones },
      }),
    ],
  };
}

const subscriptionSaying = (text: string, deviceId: string, expiresAt: string) => ({
  data: [
    {
      id: `${text}${randomUUID()}`,
      type: 'subscriptions',
      attributes: { sub_type: text, status: 'active', plan_id: text, expires_at: expiresAt, name: text },
      relationships: { devices: { data: [{ type: 'devices', id: deviceId }] } },
    },
  ],
  links: {},
});

function answering(endpoint: Fault['endpoint'], body: string | object, status = 200, contentType = 'application/json') {
  return {
    endpoint,
    fault: { kind: 'body', status, contentType, body: typeof body === 'string' ? body : JSON.stringify(body) },
  };
}

interface Linked {
  visitor: Visitor;
  deviceId: string;
  accountId: string;
}

/** A user whose device at Ring has this text. All that the app asks Ring for has been answered. */
async function linkedTo(text: string, deviceId = `device-${randomUUID()}`, subscription = OPAQUE): Promise<Linked> {
  await world.ring.setFaults([
    answering('devices', deviceSaying(text, deviceId)),
    answering('history', { data: [], links: {} }),
    answering('subscriptions', subscriptionSaying(subscription, deviceId, '2031-01-01T00:00:00Z')),
  ]);
  const user = await world.ring.createUser({ devices: [], first_name: text.slice(0, 200), last_name: 'x' });
  const { visitor } = await linked(world, user);
  await untilIdle(world);
  const [known] = await world.sql(
    'SELECT 1 FROM devices WHERE account_id = $1 AND id = $2 AND fetched_at IS NOT NULL',
    [user.account_id, deviceId],
  );
  expect(known).toBeDefined();
  const { meta, data } = newEvent({ accountId: user.account_id, deviceId, type: 'motion_detected' });
  const event = { meta, data: { ...data, id: text.slice(0, 500), subType: OPAQUE.slice(0, 64), source_type: text } };
  // Ring refuses texts that Postgres can't store.
  const storable = !/[\0\p{Surrogate}]/u.test(text);
  if (!storable) event.data.id = 'event-1';
  const { attributes } = event.data;
  Object.assign(attributes, { source_type: storable ? text : 'devices', sub_type: OPAQUE.slice(0, 64) });
  expect((await deliver(world.url, JSON.stringify(event))).status).toBe(200);
  await untilIdle(world);
  return { visitor, deviceId, accountId: user.account_id };
}

/** Opens the visitor's pages in a browser without our content policy, so that injected code would run. */
async function inBrowser({ visitor }: Pick<Linked, 'visitor'>, use: (page: Page) => Promise<void>): Promise<void> {
  const context: BrowserContext = await browser.newContext({ bypassCSP: true, viewport: { width: 320, height: 800 } });
  try {
    await context.addCookies(visitor.cookies.map((cookie) => ({ ...cookie, url: world.url })));
    const page = await context.newPage();
    const happened: string[] = [];
    page.on('dialog', (dialog) => {
      happened.push(dialog.message());
      void dialog.dismiss();
    });
    page.on('pageerror', (error) => happened.push(error.message));
    page.on('request', (request) => {
      if (!request.url().startsWith(world.url) && !request.url().startsWith('data:')) happened.push(request.url());
    });
    await use(page);
    expect(happened).toEqual([]);
  } finally {
    await context.close();
  }
}

/** Elements and attributes that none of our pages has by itself. */
const STRANGE_ELEMENTS = `[...document.querySelectorAll('*')].filter((element) =>
  element.getAttributeNames().some((name) => name.startsWith('on')) ||
  ['href', 'src', 'action', 'formaction'].some((name) => /^\\s*(javascript|data|http)/i.test(element.getAttribute(name) ?? '')) ||
  element.matches('img:not([src^="/devices/"]), script:not([src^="/assets/"]), iframe, object, embed, style, b')
).map((element) => element.outerHTML)`;

async function expectHarmless(page: Page, address: string): Promise<void> {
  const response = await page.goto(world.url + address);
  expect(response?.status()).toBe(200);
  expect(await page.evaluate<string[]>(STRANGE_ELEMENTS)).toEqual([]);
}

const pageOf = ({ deviceId }: Linked): string => `/devices/${encodeURIComponent(deviceId)}`;

/** The text as it is read, in one line. */
const textOf = async (page: Page): Promise<string> => flat(await page.evaluate<string>('document.body.textContent'));
const flat = (text: string): string => text.replace(/\s+/g, ' ').trim();

describe.each(HOSTILE)('%s in what Ring says', (_what, text) => {
  test('is text on every page, and the same text in the download', async () => {
    const owner = await linkedTo(text);
    await inBrowser(owner, async (page) => {
      for (const address of ['/ring/home', '/events', '/account', pageOf(owner)]) {
        await expectHarmless(page, address);
        if (address !== '/account') expect(await textOf(page)).toContain(flat(text));
      }
      expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe(text);
      expect(flat(await page.title())).toContain(flat(text));
    });

    const answer = await send(world.url, '/account/data', { cookie: owner.visitor.cookie });
    expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
    expect(answer.headers.get('content-disposition')).toContain('attachment');
    const { devices } = JSON.parse(answer.text) as { devices: { name: string; location: unknown }[] };
    expect(devices).toEqual([expect.objectContaining({ name: text, location: { country: text, state: text } })]);
  });
});

test('an ID of a device may be anything that is no space: its page opens, its filter works, nothing runs', async () => {
  const owner = await linkedTo('Front Door', OPAQUE);
  await inBrowser(owner, async (page) => {
    await expectHarmless(page, '/ring/home');
    await page.getByRole('link', { name: 'Front Door' }).first().click();
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe('Front Door');
    expect(await page.evaluate<string[]>(STRANGE_ELEMENTS)).toEqual([]);
    await expectHarmless(page, '/events');
    await page.getByLabel('Device').selectOption({ label: 'Front Door' });
    await page.getByRole('button', { name: 'Show', exact: true }).click();
    await page.waitForURL(/device=/);
    expect(await page.locator('.event').count()).toBe(1);
    expect(await page.evaluate<string[]>(STRANGE_ELEMENTS)).toEqual([]);
  });
});

describe('what Ring says is stored and shown', () => {
  test.each([
    ['U+0000', 'Front\0 Door', 'Front Door'],
    ['half a surrogate pair', 'Front \ud83d Door', 'Front \ufffd Door'],
    ['the other half', 'Front \udeaa Door', 'Front \ufffd Door'],
    ['both in the wrong order', 'A\udeaa\ud83dB', 'A\ufffd\ufffdB'],
    ['a pair', 'Front 🚪', 'Front 🚪'],
  ])('with %s', async (_what, text, shown) => {
    const owner = await linkedTo(text);
    await inBrowser(owner, async (page) => {
      await expectHarmless(page, '/ring/home');
      await expectHarmless(page, '/events');
      await expectHarmless(page, pageOf(owner));
      expect(await page.getByRole('heading', { level: 1 }).textContent()).toBe(shown);
    });
    expect((await send(world.url, '/account/data', { cookie: owner.visitor.cookie })).status).toBe(200);
  });

  test('when it is endless, and no page scrolls sideways at 320 px', async () => {
    const owner = await linkedTo('W'.repeat(10_000));
    await inBrowser(owner, async (page) => {
      for (const address of ['/ring/home', '/events', pageOf(owner)]) {
        await expectHarmless(page, address);
        expect((await textOf(page)).length).toBeLessThan(20_000);
        const sideways = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';
        expect([address, await page.evaluate<number>(sideways)]).toEqual([address, 0]);
      }
    });
  });

  // A text may be cut anywhere but in the middle of a letter.
  test.each([19, 20, 99, 100, 199, 200])('when a pair of surrogates begins at letter %i', async (length) => {
    const text = `${'a'.repeat(length - 1)}🚪🚪`;
    const owner = await linkedTo(text);
    const { visitor } = owner;
    await visitor.open(pageOf(owner));
    expect([visitor.page.status, visitor.page.text.includes('\ufffd')]).toEqual([200, false]);
  });

  test('in its own direction: a name that turns letters around turns only itself around', async () => {
    const name = `Door \u202e3`;
    const owner = await linkedTo(name);
    await inBrowser(owner, async (page) => {
      for (const address of ['/ring/home', pageOf(owner)]) {
        await expectHarmless(page, address);
        expect([address, await page.evaluate<string[]>(TURNED_TEXTS)]).toEqual([address, []]);
      }
    });
  });
});

/** Our own words after a name in the same line that are shown from right to left. */
const TURNED_TEXTS = `(() => {
  const walker = document.createTreeWalker(document.querySelector('main') ?? document.body, NodeFilter.SHOW_TEXT);
  const turned = [];
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const at = node.data.lastIndexOf('\\u202e');
    const own = at < 0 ? /\\S.*\\S/.exec(node.data)?.[0] : /[.,](?= )|(?<= )right now/.exec(node.data.slice(at + 2))?.[0];
    if (!own || own.length < 2) continue;
    const begin = node.data.indexOf(own, Math.max(at, 0));
    const place = (index) => {
      const range = document.createRange();
      range.setStart(node, index);
      range.setEnd(node, index + 1);
      return range.getBoundingClientRect();
    };
    const [first, second] = [place(begin), place(begin + 1)];
    if (first.width > 0 && first.top === second.top && second.left < first.left) turned.push(node.data.trim());
  }
  return turned;
})()`;

describe('what Ring says when it refuses', () => {
  const WORDS = `refused-by-ring <img src=x onerror=alert(1)>`;
  const errors = { errors: [{ status: WORDS, title: WORDS, detail: WORDS }], error: WORDS, error_description: WORDS };

  test.each([
    ['as HTML', 'text/html', `<html><body><script>alert(1)</script>${WORDS}</body></html>`],
    ['as JSON', 'application/json', JSON.stringify(errors)],
  ])('a picture %s stays out of the page', async (_what, contentType, body) => {
    const owner = await linkedTo('Front Door');
    await world.ring.setFaults([answering('image', body, 400, contentType)]);
    await inBrowser(owner, async (page) => {
      await expectHarmless(page, pageOf(owner));
      await page.getByRole('button', { name: 'Show the latest picture' }).click();
      await page.getByRole('alert').first().waitFor();
      expect(await page.evaluate<string[]>(STRANGE_ELEMENTS)).toEqual([]);
      expect(await textOf(page)).not.toContain('refused-by-ring');
    });
  });

  test('a link stays out of the pages', async () => {
    await world.ring.setFaults([answering('integration-post', errors, 404)]);
    const user = await world.ring.createUser();
    const visitor = world.visitor();
    await world.ring.install(user);
    await visitor.open((await world.ring.linkUrl(user)).url);
    await visitor.submit('/sign-up', { email: `refused.${randomUUID()}@example.com`, password: PASSWORD });
    expect(visitor.page.text).not.toContain('refused-by-ring');
    await untilIdle(world);
    await inBrowser({ visitor }, async (page) => {
      await expectHarmless(page, '/ring/home');
      expect(await textOf(page)).not.toContain('refused-by-ring');
    });
  });

  test('what it sends as a picture is never a page', async () => {
    const { visitor, ringUser, device } = await sharing(world);
    const owner = { visitor, deviceId: device.id, accountId: ringUser.account_id };
    await world.sql(
      `INSERT INTO snapshots (id, account_id, device_id, taken_at, content_type, picture)
       VALUES (gen_random_uuid(), $1, $2, now(), 'image/png', $3)`,
      [owner.accountId, owner.deviceId, Buffer.from('<script>alert(1)</script>')],
    );
    const [{ id } = { id: '' }] = await world.sql<Pick<Tables['snapshots'], 'id'>>(
      'SELECT id FROM snapshots WHERE account_id = $1',
      [owner.accountId],
    );
    const answer = await send(world.url, `${pageOf(owner)}/snapshots/${id}`, { cookie: owner.visitor.cookie });
    expect([answer.headers.get('content-type'), answer.headers.get('x-content-type-options')]).toEqual([
      'image/png',
      'nosniff',
    ]);
    await world.ring.setFaults([answering('media', '<script>alert(1)</script>', 200, 'text/html')]);
    await owner.visitor.open(pageOf(owner));
    await owner.visitor.submit(`${pageOf(owner)}/snapshots`);
    const kept = await world.sql('SELECT 1 FROM snapshots WHERE account_id = $1', [owner.accountId]);
    expect([owner.visitor.page.text.includes('Ring gave us no picture.'), kept.length]).toEqual([true, 1]);
  });
});

describe('the e-mail of an account', () => {
  test.each(HOSTILE)('with %s is refused, and stands as typed in the form', async (_what, text) => {
    const visitor = world.visitor();
    for (const action of ['/sign-in', '/sign-up']) {
      await visitor.open('/ring/home');
      const { status, text: html } = await visitor.submit(action, { email: text, password: PASSWORD });
      expect([400, 401]).toContain(status);
      await inBrowser({ visitor }, async (page) => {
        await page.route(world.url + action, (route) => route.fulfill({ body: html, contentType: 'text/html' }));
        await expectHarmless(page, action);
        const values = await page.evaluate<string[]>(
          `[...document.querySelectorAll('[name=email]')].map(({ value }) => value)`,
        );
        expect(values).toContain(text.trim());
      });
    }
  });

  test('may have an apostrophe and an ampersand, and is shown as it is', async () => {
    const visitor = world.visitor();
    const email = `o'b+amp.${randomUUID()}@example.com`;
    await visitor.open('/ring/home');
    await visitor.submit('/sign-up', { email, password: PASSWORD });
    await inBrowser({ visitor }, async (page) => {
      await expectHarmless(page, '/account');
      expect(await textOf(page)).toContain(email);
    });
  });
});
