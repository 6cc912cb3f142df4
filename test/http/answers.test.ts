import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type Answer, send, type Sent } from '../support/clients/http.js';
import { hiddenFields } from '../support/clients/visitor.js';
import { newEmail, nonceFor, linkPath, PASSWORD } from '../support/features/linking.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
let production: World;
beforeAll(async () => {
  world = await startWorld();
  production = await startWorld({
    environment: {
      NODE_ENV: 'production',
      RING_SIMULATOR: 'off',
      PUBLIC_URL: 'https://link.example.com',
      TRUST_PROXY: '1',
      METRICS_TOKEN: 'a-token-for-metrics',
    },
  });
});
afterAll(async () => {
  await world.stop();
  await production.stop();
});

const OVER_TLS = { 'x-forwarded-proto': 'https' };

/** Visits a page of every kind: the link page, a failed and a successful form, home, sign-out and some errors. */
async function visitEverything(of: World, headers: Record<string, string> = {}): Promise<Record<string, Answer>> {
  const visit = (path: string, sent: Sent = {}) =>
    send(of.url, path, { ...sent, headers: { ...headers, ...sent.headers } });
  const time = `${of.clock.now().getTime()}`;
  const redirect = await visit(linkPath(nonceFor(time, 'nobody'), time));
  const { cookie } = redirect;
  const link = await visit('/ring/link', { cookie });
  const fields = { ...hiddenFields(link.text, '/sign-up'), email: newEmail(), password: PASSWORD };
  const failed = await visit('/sign-in', { cookie, form: fields });
  const outcome = await visit('/sign-up', { cookie, form: fields });
  const home = await visit('/ring/home', { cookie: outcome.cookie });
  const confirm = await visit('/ring/link', { cookie: outcome.cookie });
  const signOut = await visit('/sign-out', { cookie: outcome.cookie, form: hiddenFields(home.text, '/sign-out') });
  const refused = await visit('/sign-in', { form: {} });
  return {
    redirect,
    link,
    failed,
    outcome,
    home,
    confirm,
    signOut,
    refused,
    stranger: await visit('/ring/home'),
    expired: await visit('/ring/link?nonce=x&time=1'),
    unknown: await visit('/no/such/page'),
  };
}

describe('every page', () => {
  test('is for one person and one window: not kept by caches, not framed, without a referrer', async () => {
    const pages = Object.entries(await visitEverything(world));

    expect(pages.map(([name, { status }]) => [name, status])).toEqual([
      ['redirect', 303],
      ['link', 200],
      ['failed', 401],
      ['outcome', 404],
      ['home', 200],
      ['confirm', 200],
      ['signOut', 303],
      ['refused', 403],
      ['stranger', 200],
      ['expired', 400],
      ['unknown', 404],
    ]);
    for (const [, { headers }] of pages) {
      expect(headers.get('cache-control')).toBe('no-store');
      expect(headers.get('x-frame-options')).toBe('DENY');
      expect(headers.get('referrer-policy')).toBe('no-referrer');
      expect(headers.get('x-content-type-options')).toBe('nosniff');
      expect(headers.get('x-powered-by')).toBeNull();
      const policy = headers.get('content-security-policy') ?? '';
      expect(policy).toMatch(/default-src 'self'(;|$)/);
      expect(policy).toContain("frame-ancestors 'none'");
      expect(policy).toContain("base-uri 'none'");
      expect(policy).toContain("form-action 'self'");
      expect(policy).not.toMatch(/unsafe|script-src[^;]*(\*|http|data)/);
    }
  });

  test('needs nothing that its policy forbids: no inline script, style or handler, nothing from elsewhere', async () => {
    for (const { text } of Object.values(await visitEverything(world))) {
      expect(text).not.toMatch(/<script(?![^>]* src="\/)/i);
      expect(text).not.toMatch(/<style|\sstyle=|\son[a-z]+\s*=|javascript:/i);
      expect(text).not.toMatch(/(src|href|action)="(https?:)?\/\//i);
    }
  });

  test('says HTTPS only in production, where TLS is certain', async () => {
    const of = async (app: World) => (await send(app.url, '/ring/home', { headers: OVER_TLS })).headers;

    expect((await of(world)).get('strict-transport-security')).toBeNull();
    expect((await of(production)).get('strict-transport-security')).toMatch(/max-age=\d{8}/);
  });
});

describe('the session cookie', () => {
  const attributesOf = ({ headers }: Answer) => {
    const [cookie = ''] = headers.getSetCookie();
    const [pair = '', ...attributes] = cookie.split('; ');
    return { name: pair.split('=')[0], attributes: attributes.filter((one) => !one.startsWith('Expires=')).sort() };
  };

  test('is HttpOnly and SameSite=Lax in development', async () => {
    const { redirect, outcome } = await visitEverything(world);

    for (const answer of [redirect, outcome]) {
      expect(answer && attributesOf(answer)).toEqual({
        name: 'session',
        attributes: ['HttpOnly', 'Path=/', 'SameSite=Lax'],
      });
    }
  });

  test('is __Host- and Secure as well in production', async () => {
    const { redirect, outcome } = await visitEverything(production, OVER_TLS);

    for (const answer of [redirect, outcome]) {
      expect(answer && attributesOf(answer)).toEqual({
        name: '__Host-session',
        attributes: ['HttpOnly', 'Path=/', 'SameSite=Lax', 'Secure'],
      });
    }
  });

  test('is not set in production over a connection that is not TLS', async () => {
    expect((await send(production.url, '/ring/home')).cookie).toBeUndefined();
  });

  test('carries an id and nothing else', async () => {
    const { redirect } = await visitEverything(world);

    expect(decodeURIComponent(redirect?.cookie ?? '')).toMatch(/^session=s:[\w-]{32}\.[\w+/]{43}$/);
  });

  test('is not set by an asset, an error or a health check', async () => {
    for (const path of ['/assets/style.css', '/no/such/page', '/livez', '/ring/link?nonce=x']) {
      expect((await send(world.url, path)).cookie).toBeUndefined();
    }
  });
});

describe('an address that is not there', () => {
  test.each([
    '/ring',
    '/ring/link/more',
    '/ring/home/..%2f',
    '/assets/nothing.css',
    '/assets/%E0%A4%A',
    '/%00',
    '/.env',
  ])('%s gets a page that says so', async (path) => {
    const answer = await send(world.url, path);

    expect([400, 404]).toContain(answer.status);
    expect(answer.heading).not.toBe('');
  });

  test('gets status 404, a heading and a next step', async () => {
    const answer = await send(world.url, '/nothing');

    expect(answer.status).toBe(404);
    expect(answer.heading).toBe('Page not found');
    expect(answer.text).toContain('What to do next');
  });

  test('gets 404 for a POST as well', async () => {
    expect((await send(world.url, '/nothing', { form: { a: 'b' } })).status).toBe(404);
  });
});

describe('a method that is not possible', () => {
  test.each<[method: string, path: string, allowed: string[]]>([
    ['PUT', '/ring/link', ['GET', 'POST']],
    ['DELETE', '/ring/link', ['GET', 'POST']],
    ['OPTIONS', '/ring/link', ['GET', 'POST']],
    ['POST', '/ring/home', ['GET']],
    ['DELETE', '/ring/home', ['GET']],
    ['PUT', '/sign-in', ['POST']],
    ['PATCH', '/sign-up', ['POST']],
    ['DELETE', '/sign-out', ['POST']],
  ])('%s %s gets 405 and the methods that are', async (method, path, allowed) => {
    const answer = await send(world.url, path, { method });

    expect(answer.status).toBe(405);
    const header = (answer.headers.get('allow') ?? '').split(', ');
    expect(header).toEqual(expect.arrayContaining(allowed));
    expect(header).not.toContain(method);
  });
});

describe('a hostile form', () => {
  const actions = ['/sign-in', '/sign-up', '/sign-out', '/ring/link'] as const;
  const hostileText = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 300 }),
    fc.constantFrom(
      '\u0000',
      'a\u0000@example.com',
      '\ud800',
      '../../etc/passwd',
      "' OR 1=1 --",
      '__proto__',
      '[object Object]',
    ),
    fc.integer({ min: 0, max: 3_000 }).map((length) => 'ä'.repeat(length)),
    fc.emailAddress(),
  );
  const hostileName = fc.oneof(
    fc.constantFrom(
      'email',
      'password',
      'intent',
      'email[]',
      'email[a][b]',
      'password[length]',
      '__proto__[x]',
      'constructor',
    ),
    fc.string({ unit: 'binary', maxLength: 20 }),
  );

  test('is never an error of ours, and never leads to another site', async () => {
    const page = await send(world.url, '/ring/home');
    const { _csrf: token = '' } = hiddenFields(page.text, '/sign-in');
    const fields = fc.array(fc.tuple(hostileName, hostileText), { maxLength: 12 });

    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...actions), fields, fc.boolean(), async (action, sent, withToken) => {
        const form: [string, string][] = withToken ? [['_csrf', token], ...sent] : sent;
        const answer = await send(world.url, action, { cookie: page.cookie, form });
        expect(answer.status).toBeLessThan(500);
        expect(answer.location ?? '/').toMatch(/^\/(?!\/)/);
      }),
      { numRuns: 150 },
    );
  });

  test('of any bytes and any encoding is never an error of ours', async () => {
    const types = fc.constantFrom(
      'application/x-www-form-urlencoded',
      'application/x-www-form-urlencoded; charset=iso-8859-1',
      'application/x-www-form-urlencoded; charset=nonsense',
      'multipart/form-data; boundary=x',
      'application/json',
      'text/plain',
      ';;;',
    );
    const encodings = fc.constantFrom('identity', 'gzip', 'br', 'nonsense');

    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...actions),
        fc.string({ unit: 'binary', maxLength: 400 }),
        types,
        encodings,
        async (action, body, type, encoding) => {
          const headers = { 'content-type': type, 'content-encoding': encoding };
          const answer = await send(world.url, action, { method: 'POST', body, headers });
          // For a visitor who is not signed in, a sign-out and a link redirect without reading the form.
          if (answer.status !== 303) expect(answer.status).toBeGreaterThanOrEqual(400);
          expect(answer.status).toBeLessThan(500);
        },
      ),
      { numRuns: 100 },
    );
  });

  test('of 9 KB, or with hundreds of fields, is too large', async () => {
    const large = await send(world.url, '/sign-in', { form: { email: 'a'.repeat(9_000) } });
    const many = await send(world.url, '/sign-in', {
      body: '&a=b'.repeat(500),
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    });

    expect([large.status, many.status]).toEqual([413, 413]);
    expect(large.text).toContain('too large');
  });
});

describe('a redirect', () => {
  test('never leads to another site, whatever the address, the form and the headers say', async () => {
    const elsewhere = 'https://evil.example';
    const page = await send(world.url, '/ring/home');
    const form = {
      ...hiddenFields(page.text, '/sign-up'),
      email: newEmail(),
      password: PASSWORD,
      intent: elsewhere,
      next: elsewhere,
      returnTo: elsewhere,
    };
    const headers = { 'x-forwarded-host': 'evil.example', referer: elsewhere, origin: elsewhere };

    const answers = [
      await send(world.url, '/sign-up?next=https://evil.example', { cookie: page.cookie, form, headers }),
      await send(world.url, '/', { headers }),
      await send(world.url, '/sign-in?next=//evil.example', { headers }),
      await send(world.url, '//evil.example/%2e%2e', { headers }),
      await send(world.url, '/assets//evil.example/..', { headers }),
      await send(world.url, '/\\evil.example', { headers }),
    ];

    for (const { location } of answers) expect(location ?? '/').toMatch(/^\/(?![/\\])/);
    expect(answers[0]?.location).toBe('/ring/home');
  });

  test('is relative, so a forged Host header can not bend it', async () => {
    const location = await new Promise<string | undefined>((resolve, reject) => {
      const { port } = new URL(world.url);
      request({ port, path: '/', headers: { host: 'evil.example' } }, (response) => {
        response.resume();
        resolve(response.headers.location);
      })
        .on('error', reject)
        .end();
    });

    expect(location).toBe('/ring/home');
  });
});
