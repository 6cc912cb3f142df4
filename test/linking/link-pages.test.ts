import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { send } from '../support/clients/http.js';
import { hiddenFields, type Page } from '../support/clients/visitor.js';
import {
  cards,
  arriving,
  deliverCode,
  installed,
  linkPath,
  linksOf,
  linked,
  newEmail,
  nonceFor,
  pairStatuses,
  PASSWORD,
  redirectOf,
  signedIn,
  untilLink,
} from '../support/features/linking.js';
import { scaled } from '../support/waiting/limits.js';
import { until } from '../support/waiting/until.js';
import type { RingUser } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ patienceMs: scaled(5_000) });
});
afterEach(() => world.ring.setFaults([]));
afterAll(() => world.stop());

const ACCOUNT = 'ava1.ring.account.of-nobody';
const MALFORMED = 'This address is not complete';
const EXPIRED = 'This page has expired';
const FROM_THE_FUTURE = 'The time does not add up';
const LINKED = 'Your Ring account is linked';

/** Epoch milliseconds as Ring writes them, this many seconds before now. */
const timeOfAge = (seconds: number) => `${world.clock.now().getTime() - seconds * 1_000}`;

describe('a redirect to the Account Link URL', () => {
  const goodNonce = nonceFor('1', ACCOUNT);

  test.each<[what: string, query: (time: string) => string, heading: string]>([
    ['a time of words', () => `nonce=${goodNonce}&time=yesterday`, MALFORMED],
    ['an empty time', () => `nonce=${goodNonce}&time=`, MALFORMED],
    ['a time with a fraction', (time) => `nonce=${goodNonce}&time=${time}.5`, MALFORMED],
    ['a time with an exponent', () => `nonce=${goodNonce}&time=1e12`, MALFORMED],
    ['a time with a sign', (time) => `nonce=${goodNonce}&time=%2B${time}`, MALFORMED],
    ['a time before 1970', () => `nonce=${goodNonce}&time=-1`, MALFORMED],
    ['a time with a blank', (time) => `nonce=${goodNonce}&time=%20${time}`, MALFORMED],
    ['a time with a line break', (time) => `nonce=${goodNonce}&time=${time}%0A`, MALFORMED],
    ['a time in hexadecimal', () => `nonce=${goodNonce}&time=0x18c`, MALFORMED],
    ['a time in digits of another script', () => `nonce=${goodNonce}&time=%D9%A1%D9%A2%D9%A3`, MALFORMED],
    ['a time beyond all numbers', () => `nonce=${goodNonce}&time=${'9'.repeat(400)}`, MALFORMED],
    ['no time', () => `nonce=${goodNonce}`, MALFORMED],
    ['no nonce', (time) => `time=${time}`, MALFORMED],
    ['an empty nonce', (time) => `nonce=&time=${time}`, MALFORMED],
    ['the time twice', (time) => `nonce=${goodNonce}&time=${time}&time=${time}`, MALFORMED],
    ['the nonce twice', (time) => `nonce=${goodNonce}&nonce=${goodNonce}&time=${time}`, MALFORMED],
    ['a nonce of 42 characters', (time) => `nonce=${goodNonce.slice(1)}&time=${time}`, MALFORMED],
    ['a nonce of 44 characters', (time) => `nonce=${goodNonce}A&time=${time}`, MALFORMED],
    ['a nonce with padding', (time) => `nonce=${goodNonce}%3D&time=${time}`, MALFORMED],
    ['a nonce in plain base64', (time) => `nonce=%2B%2F${'A'.repeat(41)}&time=${time}`, MALFORMED],
    ['a nonce with a letter beyond ASCII', (time) => `nonce=%C3%A9${'A'.repeat(42)}&time=${time}`, MALFORMED],
    ['a nonce that ends in a line break', (time) => `nonce=${'A'.repeat(42)}%0A&time=${time}`, MALFORMED],
    ['a nonce with bits that no encoder writes', (time) => `nonce=${'A'.repeat(42)}B&time=${time}`, MALFORMED],
    ['a signature in hex', (time) => `nonce=${'0f'.repeat(32)}&time=${time}`, MALFORMED],
    ['a time 601 s ago', () => `nonce=${goodNonce}&time=${timeOfAge(601)}`, EXPIRED],
    ['a time a millisecond more than 600 s ago', () => `nonce=${goodNonce}&time=${timeOfAge(600.001)}`, EXPIRED],
    ['a time 60 s ahead', () => `nonce=${goodNonce}&time=${timeOfAge(-60)}`, FROM_THE_FUTURE],
    [
      'a time a millisecond beyond the tolerance',
      () => `nonce=${goodNonce}&time=${timeOfAge(-5.001)}`,
      FROM_THE_FUTURE,
    ],
    ['a time in microseconds', (time) => `nonce=${goodNonce}&time=${time}000`, FROM_THE_FUTURE],
  ])('is refused before any sign-in form with %s', async (_what, query, heading) => {
    const answer = await send(world.url, `/ring/link?${query(timeOfAge(0))}`);

    expect(answer.status).toBe(400);
    expect(answer.heading).toBe(heading);
    expect(answer.text).toMatch(/What to do next[\s\S]*Ring app[\s\S]*tap Sign In again/);
    expect(answer.text).not.toContain('<form');
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.cookie).toBeUndefined();
  });

  test.each<[what: string, seconds: number]>([
    ['made just now', 0],
    ['made exactly 600 s ago', 600],
    ['5 s ahead of this clock', -5],
  ])('is accepted with a time %s, and leads to a clean address', async (_what, seconds) => {
    const time = timeOfAge(seconds);

    const answer = await send(world.url, linkPath(nonceFor(time, ACCOUNT), time));

    expect(answer.status).toBe(303);
    expect(answer.location).toBe('/ring/link');
    const page = await send(world.url, '/ring/link', { cookie: answer.cookie });
    expect(page.status).toBe(200);
    expect(page.heading).toBe('Link your Ring account');
  });

  test('leaves nothing to link when it was refused', async () => {
    const visitor = await signedIn(world);
    await visitor.open(linkPath(goodNonce, timeOfAge(601)));

    await visitor.open('/ring/link');

    expect(visitor.page.status).toBe(400);
    expect(visitor.heading).toBe('There is nothing to link right now');
    expect(visitor.page.text).toContain('Ring app');
  });

  test('is answered with a redirect or a 400 whatever it is, and never links', async () => {
    const { account_id } = await installed(world);
    const now = timeOfAge(0);
    const { cookie } = await signUpByHand('/ring/home');
    const nonce = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc.base64String({ minLength: 43, maxLength: 45 }),
      fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
      fc.constant(nonceFor(now, account_id)),
    );
    const time = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 30 }),
      fc.maxSafeInteger().map(String),
      fc.integer({ min: -700_000, max: 60_000 }).map((ms) => `${Number(now) + ms}`),
      fc.double().map(String),
      fc.constant(now),
    );
    const values = <Value>(one: fc.Arbitrary<Value>) => fc.array(one, { minLength: 0, maxLength: 3 });
    const claimed = await world.sql(`SELECT 1 FROM account_links`);

    await fc.assert(
      fc.asyncProperty(values(nonce), values(time), async (nonces, times) => {
        const query = new URLSearchParams();
        nonces.forEach((value) => {
          query.append('nonce', value);
        });
        times.forEach((value) => {
          query.append('time', value);
        });
        const answer = await send(world.url, `/ring/link?${query.toString()}`, { cookie });
        if (answer.status === 303) expect(answer.location).toBe('/ring/link');
        else expect([200, 400]).toContain(answer.status);
        // 200 is the confirmation page, which comes only if the query was empty.
        if (answer.status === 200) expect([...query]).toEqual([]);
        expect(answer.heading).not.toBe(LINKED);
      }),
      { numRuns: 200 },
    );

    expect(await world.sql(`SELECT 1 FROM account_links`)).toHaveLength(claimed.length);
    expect(await world.sql(`SELECT status FROM ring_tokens WHERE account_id = $1`, [account_id])).toEqual([
      { status: 'UNCLAIMED' },
    ]);
  });

  test('shows its nonce and time nowhere again: not in a page, a header or an address', async () => {
    const ringUser = await installed(world);
    const { nonce, time } = await redirectOf(world, ringUser);

    const redirect = await send(world.url, linkPath(nonce, time));
    const signIn = await send(world.url, '/ring/link', { cookie: redirect.cookie });
    const failed = await postForm('/sign-in', signIn.text, redirect.cookie, { email: newEmail(), password: PASSWORD });
    const outcome = await postForm('/sign-up', signIn.text, redirect.cookie, { email: newEmail(), password: PASSWORD });
    const linked = await send(world.url, '/ring/link', { cookie: outcome.cookie });
    const home = await send(world.url, '/ring/home', { cookie: outcome.cookie });

    expect(linked.heading).toBe(LINKED);
    for (const { everything } of [redirect, signIn, failed, outcome, linked, home]) {
      expect(everything).not.toContain(nonce);
      expect(everything).not.toContain(time);
    }
  });
});

describe('a visitor who is not signed in', () => {
  test('reads what will happen, and is offered sign-in and create-account', async () => {
    const visitor = await arriving(world, await installed(world));

    expect(visitor.page.status).toBe(200);
    expect(visitor.page.text).toContain('action="/sign-in"');
    expect(visitor.page.text).toContain('action="/sign-up"');
    expect(visitor.page.text).toMatch(/devices you picked in the Ring app/);
  });

  test('links by creating an account', async () => {
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser);
    const email = newEmail();

    await visitor.submit('/sign-up', { email, password: PASSWORD });

    expect(visitor.page.status).toBe(200);
    expect(visitor.heading).toBe(LINKED);
    expect(await linksOf(world, ringUser)).toMatchObject([{ status: 'COMPLETED', email }]);
    expect(await world.ring.integrationOf(ringUser)).toMatchObject({ status: 'completed' });
  });

  test('links by signing in', async () => {
    const email = newEmail();
    await signedIn(world, email);
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser);

    await visitor.submit('/sign-in', { email, password: PASSWORD });

    expect(visitor.heading).toBe(LINKED);
    expect(await linksOf(world, ringUser)).toMatchObject([{ status: 'COMPLETED', email }]);
  });

  test('may get the password wrong first', async () => {
    const email = newEmail();
    await signedIn(world, email);
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser);

    await visitor.submit('/sign-in', { email, password: 'not the password' });
    expect(visitor.heading).toBe('Link your Ring account');
    expect(await linksOf(world, ringUser)).toEqual([]);
    await visitor.submit('/sign-in', { email, password: PASSWORD });

    expect(visitor.heading).toBe(LINKED);
  });

  test('gets back to the link page by loading the address of a failed form again', async () => {
    const visitor = await arriving(world, await installed(world));
    await visitor.submit('/sign-in', { email: newEmail(), password: PASSWORD });
    expect(visitor.page.status).toBe(401);

    await visitor.open('/sign-in');

    expect(visitor.heading).toBe('Link your Ring account');
  });

  test.each(['/sign-in', '/sign-up'])('links nothing by %s on the home page, and can link afterwards', async (form) => {
    const email = newEmail();
    if (form === '/sign-in') await signedIn(world, email);
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser);

    await visitor.open('/ring/home');
    await visitor.submit(form, { email, password: PASSWORD });

    expect(visitor.heading).toBe('Your home');
    expect(await linksOf(world, ringUser)).toEqual([]);
    expect(await pairStatuses(world, ringUser)).toEqual(['UNCLAIMED']);
    await visitor.open('/ring/link');
    expect(visitor.page.text).toContain(email);
    await visitor.submit('/ring/link');
    expect(visitor.heading).toBe(LINKED);
  });

  test('can not skip signing in', async () => {
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser);
    const { _csrf = '' } = hiddenFields(visitor.page.text, '/sign-in');

    await visitor.post('/ring/link', { _csrf });

    expect(visitor.page.text).toContain('action="/sign-in"');
    expect(await linksOf(world, ringUser)).toEqual([]);
  });
});

describe('a signed-in user', () => {
  test('sees the own e-mail address, and links with one click', async () => {
    const email = newEmail();
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser, await signedIn(world, email));
    expect(visitor.page.text).toContain(email);

    await visitor.submit('/ring/link');

    expect(visitor.page.status).toBe(200);
    expect(visitor.heading).toBe(LINKED);
    expect(await linksOf(world, ringUser)).toMatchObject([{ status: 'COMPLETED', email }]);
  });

  test('links nothing by opening the address, however often', async () => {
    const ringUser = await installed(world);
    const visitor = await signedIn(world);
    const { url } = await world.ring.linkUrl(ringUser);

    for (let times = 0; times < 3; times += 1) await visitor.open(url);
    await visitor.open('/ring/home');

    expect(visitor.page.text).toContain('No Ring account is linked yet');
    expect(await linksOf(world, ringUser)).toEqual([]);
    expect(await pairStatuses(world, ringUser)).toEqual(['UNCLAIMED']);
  });

  test('may use another account instead', async () => {
    const first = newEmail('first');
    const second = newEmail('second');
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser, await signedIn(world, first));

    await visitor.submit('/sign-out');
    expect(visitor.heading).toBe('Link your Ring account');
    expect(visitor.page.text).not.toContain(first);
    await visitor.submit('/sign-up', { email: second, password: PASSWORD });

    expect(visitor.heading).toBe(LINKED);
    expect(await linksOf(world, ringUser)).toMatchObject([{ email: second }]);
  });

  test('is told how the link stands when the outcome is loaded again', async () => {
    const { visitor } = await linked(world);

    await visitor.open('/ring/link');
    expect(visitor.page.status).toBe(200);
    expect(visitor.heading).toBe(LINKED);
    await visitor.open('/ring/home');
    expect(cards(visitor)).toEqual(['Linked']);
  });
});

describe('the session', () => {
  test('whose id a stranger may know gets a new one when a redirect comes to it', async () => {
    const { cookie: known } = await send(world.url, '/ring/home');
    const ringUser = await installed(world);
    const { nonce, time } = await redirectOf(world, ringUser);
    const { cookie } = await send(world.url, linkPath(nonce, time), { cookie: known });

    expect(cookie).not.toBe(known);
    expect((await send(world.url, '/ring/link', { cookie: known })).status).toBe(400);
    expect((await send(world.url, '/ring/link', { cookie })).status).toBe(200);
  });

  test('that was signed out stays so, whatever was still under way in it', async () => {
    const { cookie = '' } = await signUpByHand('/ring/home');
    const time = `${world.clock.now().getTime()}`;
    await send(world.url, linkPath(nonceFor(time, ACCOUNT), time), { cookie });
    const { text } = await send(world.url, '/ring/link', { cookie });
    const attempts = () => world.sql(`SELECT 1 FROM rate_limits WHERE key LIKE 'link_attempt%'`);
    const before = (await attempts()).length;
    const waiting = send(world.url, '/ring/link', { cookie, form: hiddenFields(text, '/ring/link') });
    await until('the page waits for the pair', async () => (await attempts()).length > before);

    await send(world.url, '/sign-out', { cookie, form: hiddenFields(text, '/sign-out') });
    expect((await waiting).status).toBe(404);

    expect((await send(world.url, '/ring/home', { cookie })).heading).toMatch(/^Welcome/);
  });

  test('links nothing else than what its page showed', async () => {
    const [shown, slippedIn] = await Promise.all([installed(world), installed(world)]);
    const visitor = await arriving(world, shown, await signedIn(world));
    const { text } = visitor.page;
    const { nonce, time } = await redirectOf(world, slippedIn);
    await visitor.open(linkPath(nonce, time));

    await visitor.post('/ring/link', hiddenFields(text, '/ring/link'));

    expect(visitor.heading).toBe('Link your Ring account');
    expect(await linksOf(world, slippedIn)).toEqual([]);
    await visitor.submit('/ring/link');
    await untilLink(world, slippedIn, 'COMPLETED');
  });

  test.each(['/sign-in', '/sign-up'])(
    'gets a new id at %s, keeps the pending redirect, and the old id opens nothing',
    async (form) => {
      const email = newEmail();
      if (form === '/sign-in') await signedIn(world, email);
      const ringUser = await installed(world);
      const { nonce, time } = await redirectOf(world, ringUser);
      const { cookie: planted } = await send(world.url, linkPath(nonce, time));
      const page = await send(world.url, '/ring/link', { cookie: planted });

      const outcome = await postForm(form, page.text, planted, { email, password: PASSWORD });

      expect([outcome.status, outcome.location]).toEqual([303, '/ring/link']);
      expect((await send(world.url, '/ring/link', { cookie: outcome.cookie })).heading).toBe(LINKED);
      expect(outcome.cookie).toBeDefined();
      expect(outcome.cookie).not.toBe(planted);
      expect((await send(world.url, '/ring/home', { cookie: outcome.cookie })).text).toContain(email);
      const withOldId = await send(world.url, '/ring/home', { cookie: planted });
      expect(withOldId.text).not.toContain(email);
      expect(withOldId.text).toContain('action="/sign-in"');
    },
  );
});

describe('a page that was open for a while', () => {
  test.each([
    ['signing up', 601, EXPIRED, 400],
    ['signing up', 600, LINKED, 200],
  ])('at %s after %d s is answered "%s"', async (_what, seconds, heading, status) => {
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser);
    world.clock.advance(seconds);

    await visitor.submit('/sign-up', { email: newEmail(), password: PASSWORD });

    expect(visitor.page.status).toBe(status);
    expect(visitor.heading).toBe(heading);
    expect(await linksOf(world, ringUser)).toHaveLength(status === 200 ? 1 : 0);
  });

  test('links nothing by the one click either, nor by loading it again', async () => {
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser, await signedIn(world));
    const form = hiddenFields(visitor.page.text, '/ring/link');
    world.clock.advance(601);

    await visitor.post('/ring/link', form);

    expect(visitor.page.status).toBe(400);
    expect(visitor.heading).toBe(EXPIRED);
    expect(visitor.page.text).toContain('tap Sign In again');
    await visitor.open('/ring/link');
    expect(visitor.page.status).toBe(400);
    expect(await linksOf(world, ringUser)).toEqual([]);
  });

  test('is as good as new after a tap on Sign In, which brings a fresh nonce', async () => {
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser, await signedIn(world));
    world.clock.advance(599);

    await arriving(world, ringUser, visitor);
    world.clock.advance(1);
    await visitor.submit('/ring/link');

    expect(visitor.heading).toBe(LINKED);
  });
});

describe('a token pair that is slower than the browser', () => {
  test('is waited for', async () => {
    const ringUser = await world.ring.createUser();
    const { code } = await world.ring.issueCode(ringUser);
    const visitor = await arriving(world, ringUser);
    const email = newEmail();

    const outcome = visitor.submit('/sign-up', { email, password: PASSWORD });
    await until('the visitor waits', async () => {
      const found = await world.sql(`SELECT 1 FROM users WHERE email = $1`, [email]);
      return found.length === 1;
    });
    expect(await deliverCode(world, code)).toBe(200);

    expect((await outcome).status).toBe(200);
    expect(visitor.heading).toBe(LINKED);
  });

  test('is waited for while Ring delays its callback', async () => {
    await world.ring.setFaults([{ endpoint: 'callback', fault: { kind: 'delay', ms: 1_500 }, times: 1 }]);
    const ringUser = await world.ring.createUser();
    expect((await world.ring.install(ringUser)).callback).toBeNull();
    const visitor = await arriving(world, ringUser, await signedIn(world));

    await visitor.submit('/ring/link');

    expect(visitor.heading).toBe(LINKED);
  });

  test('is waited for while Ring can not say to which account it belongs', async () => {
    await world.ring.setFaults([{ endpoint: 'users-me', fault: { kind: 'status', status: 503 }, times: 1 }]);
    const ringUser = await world.ring.createUser();
    await world.ring.install(ringUser);
    const visitor = await arriving(world, ringUser, await signedIn(world));

    await visitor.submit('/ring/link');

    expect(visitor.heading).toBe(LINKED);
  });
});

describe('a nonce that matches nothing', () => {
  let hasty: World;
  beforeAll(async () => {
    hasty = await startWorld({ patienceMs: 0 });
  });
  afterAll(() => hasty.stop());

  const NOT_FOUND = 'We could not find your Ring account';

  test('is told so, with what to do next, and nothing is claimed', async () => {
    const bystander = await installed(hasty);
    const ringUser = await hasty.ring.createUser();
    await hasty.ring.issueCode(ringUser);
    const visitor = await arriving(hasty, ringUser);

    await visitor.submit('/sign-up', { email: newEmail(), password: PASSWORD });

    expect(visitor.page.status).toBe(404);
    expect(visitor.heading).toBe(NOT_FOUND);
    expect(visitor.page.text).toMatch(/What to do next[\s\S]*tap Sign In again[\s\S]*remove this app/);
    expect(await hasty.sql('SELECT 1 FROM account_links')).toEqual([]);
    expect(await pairStatuses(hasty, bystander)).toEqual(['UNCLAIMED']);
  });

  test('may still match at the next try, once the pair is there', async () => {
    const ringUser = await hasty.ring.createUser();
    const { code } = await hasty.ring.issueCode(ringUser);
    const visitor = await arriving(hasty, ringUser);
    await visitor.submit('/sign-up', { email: newEmail(), password: PASSWORD });
    expect(visitor.heading).toBe(NOT_FOUND);
    await deliverCode(hasty, code);
    await until('the pair is in the pool', async () => (await pairStatuses(hasty, ringUser)).includes('UNCLAIMED'));

    await visitor.open('/ring/link');
    await visitor.submit('/ring/link');

    expect([200, 202]).toContain(visitor.page.status);
    expect(await pairStatuses(hasty, ringUser)).toEqual(['CLAIMED']);
  });

  test('is every nonce but the one that Ring made: other keys, accounts, times and bits', async () => {
    const ringUser: RingUser = await installed(hasty);
    const { account_id } = ringUser;
    const now = hasty.clock.now().getTime();
    const genuine = nonceFor(`${now}`, account_id);
    const visitor = await signedIn(hasty);
    const flipped = (bit: number) => {
      const bytes = Buffer.from(genuine, 'base64url');
      bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      return bytes.toString('base64url');
    };
    const forgery = fc.oneof(
      fc.integer({ min: 0, max: 255 }).map((bit) => ({ nonce: flipped(bit), time: `${now}` })),
      fc.integer({ min: 1, max: 600_000 }).map((ms) => ({ nonce: genuine, time: `${now - ms}` })),
      fc
        .string({ minLength: 1, maxLength: 40 })
        .map((key) => ({ nonce: nonceFor(`${now}`, account_id, key), time: `${now}` })),
      fc
        .string({ unit: 'grapheme', maxLength: 40 })
        .map((account) => ({ nonce: nonceFor(`${now}`, account), time: `${now}` })),
      fc.constant({ nonce: randomBytes(32).toString('base64url'), time: `${now}` }),
    );

    await fc.assert(
      fc.asyncProperty(forgery, async ({ nonce, time }) => {
        await visitor.open(linkPath(nonce, time));
        await visitor.submit('/ring/link');
        expect(visitor.page.status).toBe(404);
      }),
      { numRuns: 60 },
    );

    expect(await linksOf(hasty, ringUser)).toEqual([]);
    expect(await pairStatuses(hasty, ringUser)).toEqual(['UNCLAIMED']);
    await visitor.open(linkPath(genuine, `${now}`));
    await visitor.submit('/ring/link');
    expect(await linksOf(hasty, ringUser)).toHaveLength(1);
  });
});

describe('a database that is slow to store sessions', () => {
  let slow: World;
  beforeAll(async () => {
    slow = await startWorld();
    await slow.sql(`CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql
                    AS 'BEGIN PERFORM pg_sleep(0.2); RETURN NEW; END'`);
    await slow.sql(`CREATE TRIGGER dawdle BEFORE INSERT OR UPDATE ON sessions FOR EACH ROW
                    WHEN (NEW.sess->>'pendingLink' IS NOT NULL) EXECUTE FUNCTION dawdle()`);
  });
  afterAll(() => slow.stop());

  const LINK_PAGE = 'Link your Ring account';

  test('loses no link when the browser follows the redirect at once', async () => {
    const visitor = await arriving(slow, await installed(slow));

    expect(visitor.heading).toBe(LINK_PAGE);
  });

  test('loses no link when another account is to be used', async () => {
    const ringUser = await installed(slow);
    const visitor = await signedIn(slow);
    const { nonce, time } = await redirectOf(slow, ringUser);
    await visitor.openWithoutRedirects(linkPath(nonce, time));
    await visitor.open('/ring/link');
    expect(visitor.page.text).toContain('action="/sign-out"');

    await visitor.submit('/sign-out');

    expect(visitor.heading).toBe(LINK_PAGE);
    expect(visitor.page.text).toContain('action="/sign-in"');
  });

  test('loses no link when the user signs in on the home page first', async () => {
    const { nonce, time } = await redirectOf(slow, await installed(slow));
    const visitor = slow.visitor();
    await visitor.openWithoutRedirects(linkPath(nonce, time));
    await visitor.open('/ring/home');

    await visitor.submit('/sign-up', { email: newEmail(), password: PASSWORD });
    expect(visitor.heading).toBe('Your home');
    await visitor.open('/ring/link');

    expect(visitor.heading).toBe(LINK_PAGE);
  });
});

/** Signs up on the page at `path`, with cookies handled by hand. */
async function signUpByHand(path: string) {
  const page = await send(world.url, path);
  return postForm('/sign-up', page.text, page.cookie, { email: newEmail(), password: PASSWORD });
}

function postForm(action: string, html: Page['text'], cookie: string | undefined, fields: Record<string, string>) {
  return send(world.url, action, { cookie, form: { ...hiddenFields(html, action), ...fields } });
}
