import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { type Answer, send } from '../support/clients/http.js';
import { hiddenFields } from '../support/clients/visitor.js';
import { installed, linkPath, linksOf, newEmail, nonceFor, PASSWORD, redirectOf } from '../support/features/linking.js';
import type { RingUser } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

/** The number of accounts that one address may create in an hour, and of visits in a minute. */
const SIGN_UPS = 20;
const VISITS = 120;
/** The number of requests beyond the limits of an address, for one Ring account in an hour. */
const BEYOND = 20;
/** The number of looks into the pool for one address in a minute. */
const LOOKS = 60;

/** The address of a carrier, whose customers all come from it. */
const CARRIER = { 'x-forwarded-for': '203.0.113.8' };

let world: World;
beforeAll(async () => {
  world = await startWorld({ environment: { RATE_LIMIT_SCALE: '1', TRUST_PROXY: '1' } });
});
beforeEach(() => world.sql('DELETE FROM rate_limits'));
afterAll(() => world.stop());

/** A Ring user's browser at the page to which Ring has sent it. */
async function arrive(redirect: {
  nonce: string;
  time: string;
}): Promise<{ cookie: string | undefined; page: Answer }> {
  const { cookie } = await send(world.url, linkPath(redirect.nonce, redirect.time), { headers: CARRIER });
  return { cookie, page: await send(world.url, '/ring/link', { cookie, headers: CARRIER }) };
}

function signUp({ cookie, page }: Awaited<ReturnType<typeof arrive>>, email = newEmail()): Promise<Answer> {
  const form = { ...hiddenFields(page.text, '/sign-up'), email, password: PASSWORD };
  return send(world.url, '/sign-up', { cookie, headers: CARRIER, form });
}

/** Uses up what the carrier's address has of a limit. */
async function useUp(limit: string, times: number): Promise<void> {
  await world.sql(`UPDATE rate_limits SET points = $2 WHERE key LIKE $1`, [`${limit}:%`, times]);
}

/** A redirect of the right form that Ring has not signed. */
function unsigned(): { nonce: string; time: string } {
  const time = `${world.clock.now().getTime()}`;
  return { time, nonce: nonceFor(time, 'somebody', 'a key of somebody else') };
}

/** A redirect that Ring has signed for an account whose pair is not in the pool. */
async function signedForNobody(): Promise<{ nonce: string; time: string }> {
  const ringUser = await world.ring.createUser();
  await world.ring.issueCode(ringUser);
  return redirectOf(world, ringUser);
}

test('many people behind one address create their accounts and link, for Ring has sent them', async () => {
  const people: RingUser[] = [];
  for (let count = 0; count < SIGN_UPS + 2; count += 1) people.push(await installed(world));

  for (const ringUser of people) {
    const answer = await signUp(await arrive(await redirectOf(world, ringUser)));
    expect([answer.status, answer.location]).toEqual([303, '/ring/link']);
    expect(await linksOf(world, ringUser)).toHaveLength(1);
  }
});

test('nobody else passes with them: without a redirect, or with one that Ring has not signed for an account in the pool', async () => {
  const page = await send(world.url, '/ring/home', { headers: CARRIER });
  const stranger = await arrive(unsigned());
  const notInstalled = await arrive(await signedForNobody());
  await signUp(await arrive(unsigned()));
  await useUp('sign_up_address', SIGN_UPS);

  for (const visitor of [{ cookie: page.cookie, page }, stranger, notInstalled]) {
    const answer = await signUp(visitor);
    expect(answer.status).toBe(429);
    expect(answer.heading).toBe('Too many attempts');
  }
});

test('a redirect that is no longer fresh does not pass', async () => {
  const visitor = await arrive(await redirectOf(world, await installed(world)));
  await signUp(await arrive(unsigned()));
  await useUp('sign_up_address', SIGN_UPS);
  world.clock.advance(601);

  expect((await signUp(visitor)).status).toBe(429);
});

test('visitors whom Ring sends see the link page although strangers have used up the visits of their address', async () => {
  const ringUser = await installed(world);
  await send(world.url, '/ring/home', { headers: CARRIER });
  await useUp('visit', VISITS);
  expect((await send(world.url, '/ring/home', { headers: CARRIER })).status).toBe(429);
  expect((await arrive(unsigned())).page.status).toBe(429);

  const visitor = await arrive(await redirectOf(world, ringUser));

  expect(visitor.page.status).toBe(200);
  expect((await signUp(visitor)).status).toBe(303);
});

test('signing in is no flood either, nor kept up by strangers who guess at the account from everywhere', async () => {
  const email = newEmail();
  const registered = await send(world.url, '/ring/home');
  const fields = { ...hiddenFields(registered.text, '/sign-up'), email, password: PASSWORD };
  await send(world.url, '/sign-up', { cookie: registered.cookie, form: fields });
  const visitor = await arrive(await redirectOf(world, await installed(world)));
  const form = { ...hiddenFields(visitor.page.text, '/sign-in'), email, password: PASSWORD };
  const signIn = (password = PASSWORD) =>
    send(world.url, '/sign-in', { cookie: visitor.cookie, headers: CARRIER, form: { ...form, password } });
  expect((await signIn('a wrong password')).status).toBe(401);
  await useUp('sign_in_address', 60);
  await useUp('guess_account', 100);

  const answer = await signIn();

  expect([answer.status, answer.location]).toEqual([303, '/ring/link']);
});

test('one Ring account lets its user pass so often and no more, whatever redirects Ring signs for it', async () => {
  const ringUser = await installed(world);
  await send(world.url, '/ring/home', { headers: CARRIER });
  await useUp('visit', VISITS);
  const statuses: number[] = [];
  for (let count = 0; count <= BEYOND; count += 1) {
    world.clock.advance(1);
    const { nonce, time } = await redirectOf(world, ringUser);
    statuses.push((await send(world.url, linkPath(nonce, time), { headers: CARRIER })).status);
  }

  expect(statuses).toEqual([...Array<number>(BEYOND).fill(303), 429]);
});

test('whoever sends redirects that are not signed has so many looked at, and costs nothing from then on', async () => {
  const ringUser = await installed(world);
  await send(world.url, '/ring/home', { headers: CARRIER });
  await useUp('visit', VISITS);
  for (let count = 0; count < LOOKS; count += 1) {
    const { nonce, time } = unsigned();
    expect((await send(world.url, linkPath(nonce, time), { headers: CARRIER })).status).toBe(429);
  }

  const { nonce, time } = await redirectOf(world, ringUser);
  expect((await send(world.url, linkPath(nonce, time), { headers: CARRIER })).status).toBe(429);
  expect((await send(world.url, linkPath(nonce, time), { headers: { 'x-forwarded-for': '203.0.113.9' } })).status).toBe(
    303,
  );
});

test('what a visitor is told does not depend on why they do not pass', async () => {
  const visitors = [
    await arrive(unsigned()),
    await arrive(await signedForNobody()),
    await arrive(await redirectOf(world, await installed(world))),
  ];
  await signUp(await arrive(unsigned()));
  await useUp('sign_up_address', SIGN_UPS);
  const [first, second, third] = visitors;
  if (first === undefined || second === undefined || third === undefined) throw new Error('nobody has arrived');
  const answers = [await signUp(first), await signUp(second)];
  // From here on no look is made.
  await useUp('redirect_look', LOOKS);
  answers.push(await signUp(third));

  const told = answers.map(({ status, text }) => `${status} ${text.replaceAll(/\d+ minutes/g, 'minutes')}`);
  expect(new Set(told).size).toBe(1);
  expect(told[0]).toMatch(/^429 /);
});
