import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import { send } from '../support/clients/http.js';
import { sharing } from '../support/features/devices.js';
import { untilIdle } from '../support/features/inbox.js';
import {
  arriving,
  installed,
  integrationCalls,
  linked,
  linksOf,
  newEmail,
  once,
  PASSWORD,
  signedIn,
  untilLink,
} from '../support/features/linking.js';
import { openLiveView } from '../support/features/live-views.js';
import { isSignedIn, newResident, signIn, submitAccountForm } from '../support/features/my-data.js';
import { ACCESS_LIFETIME, tokenOf } from '../support/features/tokens.js';
import { untilJobsAreDone } from '../support/waiting/jobs.js';
import { scaled } from '../support/waiting/limits.js';
import { holdLock, untilLocksAwaited } from '../support/waiting/locks.js';
import { until } from '../support/waiting/until.js';
import type { RingUser } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

const NEW_PASSWORD = 'an entirely different one';
const CHANGED_EMAIL = 'Your email address is now';
const CHANGED_PASSWORD = 'Your password is changed';
const WRONG_PASSWORD = 'This is not your current password';

let world: World;
beforeAll(async () => {
  world = await startWorld({ patienceMs: scaled(100) });
});
afterEach(() => world.ring.setFaults([]));
afterAll(() => world.stop());

/** The masked form by Ring's documentation: first and last character around `***`, the domain kept. */
function masked(email: string): string {
  const [local = '', domain = ''] = email.split('@');
  return `${local.slice(0, 1)}***${local.slice(-1)}@${domain}`;
}

/** Each address has a masked form that differs from that of every other address in these tests. */
let made = 0;
const distinctEmail = () => newEmail(`${String.fromCharCode(97 + (made += 1))}x`).replace('@', 'z@');

const sessionIds = async (email: string) =>
  (
    await world.sql<Pick<Tables['sessions'], 'sid'>>(
      `SELECT sid FROM sessions JOIN users ON users.id::text = sess #>> '{passport,user}' WHERE email = $1`,
      [email],
    )
  ).map(({ sid }) => sid);

const usersWith = (email: string) => world.sql('SELECT 1 FROM users WHERE email = $1', [email]);

describe('the account page', () => {
  test('is for signed-in users', async () => {
    for (const path of ['/account', '/account/data']) {
      const answer = await send(world.url, path);
      expect([answer.status, answer.location]).toEqual([303, '/ring/home?sign-in']);
    }
    for (const form of ['email', 'password', 'delete']) {
      const answer = await send(world.url, `/account/${form}`, { form: {} });
      expect([answer.status, answer.location]).toEqual([303, '/ring/home?sign-in']);
    }
  });

  test('takes no form without the token of its session', async () => {
    const email = newEmail();
    const visitor = await signedIn(world, email);
    for (const form of ['email', 'password', 'delete']) {
      await visitor.post(`/account/${form}`, { new: newEmail(), confirmation: 'DELETE', current: PASSWORD });
      expect(visitor.page.status).toBe(403);
    }
    expect(await usersWith(email)).toHaveLength(1);
  });

  test('leads back to itself from the address of a form that failed', async () => {
    const visitor = await signedIn(world);
    for (const form of ['email', 'password', 'delete']) {
      await visitor.open(`/account/${form}`);
      expect(visitor.heading).toBe('Your account');
    }
  });
});

describe('changing the e-mail', () => {
  test('says so once, keeps the user signed in under a new session ID, and ends all other sessions', async () => {
    const [email, newOne] = [newEmail(), newEmail()];
    const visitor = await signedIn(world, email);
    const others = [await signIn(world, email), await signIn(world, email)];
    const before = await sessionIds(email);
    expect(before).toHaveLength(3);

    await submitAccountForm(visitor, 'email', { new: `  ${newOne.toUpperCase()} ` });

    expect(visitor.page.status).toBe(200);
    expect(visitor.page.text).toContain(CHANGED_EMAIL);
    expect(visitor.page.text).toContain(newOne);
    await visitor.open('/account');
    expect(visitor.page.text).not.toContain(CHANGED_EMAIL);
    const after = await sessionIds(newOne);
    expect(after).toHaveLength(1);
    expect(before).not.toContain(after[0]);
    for (const other of others) expect(await isSignedIn(other)).toBe(false);

    expect(await isSignedIn(await signIn(world, newOne))).toBe(true);
    expect(await isSignedIn(await signIn(world, email))).toBe(false);
  });

  test('says what is wrong beside the field, shows the address again, and changes nothing', async () => {
    const [email, taken] = [newEmail(), newEmail()];
    await signedIn(world, taken);
    const visitor = await signedIn(world, email);
    for (const [fields, status, complaint] of [
      [{ new: 'not an address' }, 400, 'Enter an email address like name@example.com.'],
      [{ new: '' }, 400, 'Enter an email address like name@example.com.'],
      [{ new: '"><script>alert(1)</script>' }, 400, 'Enter an email address'],
      [{ new: email.toUpperCase() }, 400, 'This is your email address already'],
      [{ new: taken }, 409, 'already an account with this email address'],
      [{ new: newEmail(), current: '' }, 400, 'Enter your current password'],
      [{ new: newEmail(), current: 'not the password' }, 400, WRONG_PASSWORD],
      [{ new: newEmail(), current: 'p'.repeat(1_001) }, 400, WRONG_PASSWORD],
    ] as const) {
      await submitAccountForm(visitor, 'email', fields);
      expect([visitor.page.status, visitor.page.text.includes(complaint)]).toEqual([status, true]);
      expect(visitor.page.text).not.toContain('<script>alert');
      if (fields.new.endsWith('.com')) expect(visitor.page.text).toContain(`value="${fields.new}"`);
    }
    expect(await usersWith(email)).toHaveLength(1);
    expect(await sessionIds(email)).toHaveLength(1);
  });

  test('to the same address by two people at once gives it to one of them', async () => {
    const wanted = newEmail();
    const visitors = await Promise.all([signedIn(world), signedIn(world)]);
    await Promise.all(visitors.map((visitor) => submitAccountForm(visitor, 'email', { new: wanted })));

    expect(visitors.map(({ page }) => page.status).sort()).toEqual([200, 409]);
    expect(await usersWith(wanted)).toHaveLength(1);
  });

  test('sent twice at once changes it once', async () => {
    const wanted = newEmail();
    const visitor = await signedIn(world);
    await visitor.open('/account');

    const answers = await Promise.all(
      [1, 2].map(() => visitor.submit('/account/email', { new: wanted, current: PASSWORD })),
    );

    expect(answers.map(({ status }) => status).filter((status) => status >= 500)).toEqual([]);
    const [user] = await world.sql('SELECT credentials_version FROM users WHERE email = $1', [wanted]);
    expect(user).toEqual({ credentials_version: 1 });
  });
});

describe('changing the password', () => {
  test('says so, keeps the user signed in under a new session ID, and ends all other sessions', async () => {
    const email = newEmail();
    const visitor = await signedIn(world, email);
    const other = await signIn(world, email);
    const before = await sessionIds(email);

    await submitAccountForm(visitor, 'password', { new: NEW_PASSWORD });

    expect(visitor.page.text).toContain(CHANGED_PASSWORD);
    const after = await sessionIds(email);
    expect(after).toHaveLength(1);
    expect(before).not.toContain(after[0]);
    expect(await isSignedIn(other)).toBe(false);
    expect(await isSignedIn(await signIn(world, email))).toBe(false);
    expect(await isSignedIn(await signIn(world, email, NEW_PASSWORD))).toBe(true);
  });

  test('says what is wrong beside the field, shows no password, and changes nothing', async () => {
    const email = newEmail();
    const visitor = await signedIn(world, email);
    for (const [fields, complaint] of [
      [{ new: 'too short' }, 'at least 10 characters'],
      [{ new: 'p'.repeat(201) }, 'at most 200 characters'],
      [{ new: NEW_PASSWORD, current: '' }, 'Enter your current password'],
      [{ new: NEW_PASSWORD, current: 'not the password' }, WRONG_PASSWORD],
    ] as const) {
      await submitAccountForm(visitor, 'password', fields);
      expect(visitor.page.status).toBe(400);
      expect(visitor.page.text).toContain(complaint);
      expect(visitor.page.text).not.toContain(fields.new);
      expect(visitor.page.text).not.toContain('value="not the password"');
    }
    expect(await isSignedIn(await signIn(world, email))).toBe(true);
  });

  test('leaves other users alone', async () => {
    const other = await signedIn(world);
    await submitAccountForm(await signedIn(world), 'password', { new: NEW_PASSWORD });
    expect(await isSignedIn(other)).toBe(true);
  });
});

test('neither e-mails nor passwords get into the log', async () => {
  const [email, newOne] = [newEmail(), newEmail()];
  const visitor = await signedIn(world, email);
  await submitAccountForm(visitor, 'email', { new: newOne });
  await submitAccountForm(visitor, 'password', { new: NEW_PASSWORD });
  await submitAccountForm(visitor, 'delete', { confirmation: 'DELETE', current: NEW_PASSWORD });

  expect(visitor.heading).toBe('Your account is deleted');
  const log = world.log.join('');
  expect(log).toContain('/account/delete');
  for (const secret of [email, newOne, PASSWORD, NEW_PASSWORD]) expect(log).not.toContain(secret);
});

describe('a session that has ended by a change', () => {
  test('does not come back with a request that was under way', async () => {
    const email = newEmail();
    const visitor = await signedIn(world, email);
    const other = await signIn(world, email);
    // The other browser's page has found its session, and waits for the links.
    const release = await holdLock(world, 'LOCK TABLE account_links IN ACCESS EXCLUSIVE MODE');
    const underWay = other.open('/ring/home');
    await untilLocksAwaited(world, 1);

    await submitAccountForm(visitor, 'password', { new: NEW_PASSWORD });
    await release();
    await underWay;

    expect(await sessionIds(email)).toHaveLength(1);
    expect(await isSignedIn(other)).toBe(false);
    expect(await isSignedIn(visitor)).toBe(true);
  });

  test('is also one whose sign-in with the old password was under way', async () => {
    const email = newEmail();
    const visitor = await signedIn(world, email);
    await visitor.open('/account');
    const other = world.visitor();
    await other.open('/ring/home');
    // The old password is found correct, and its session is stored only after the change.
    await world.sql(`CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
                     $$ BEGIN PERFORM pg_advisory_xact_lock(4242); RETURN NEW; END $$`);
    await world.sql('CREATE TRIGGER wait BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION wait()');
    const release = await holdLock(world, 'SELECT pg_advisory_xact_lock(4242)');
    const signingIn = other.submit('/sign-in', { email, password: PASSWORD });
    await untilLocksAwaited(world, 1);
    const changing = visitor.submit('/account/password', { new: NEW_PASSWORD, current: PASSWORD });
    await until('the password is changed', async () => {
      const changed = await world.sql('SELECT 1 FROM users WHERE email = $1 AND credentials_version = 1', [email]);
      return changed.length === 1;
    });

    await release();
    await Promise.all([signingIn, changing]);
    await world.sql('DROP FUNCTION wait CASCADE');

    expect(visitor.page.text).toContain(CHANGED_PASSWORD);
    expect(await isSignedIn(other)).toBe(false);
    expect(await isSignedIn(visitor)).toBe(true);
  });

  test.each([
    { form: 'password', changed: () => 'an entirely different one' },
    { form: 'email', changed: () => newEmail() },
  ] as const)('watches no longer: $form', async ({ form, changed }) => {
    const { ringUser, email } = await newResident(world);
    const elsewhere = await signIn(world, email);

    await submitAccountForm(elsewhere, form, { new: changed() });

    await untilIdle(world);
    const views = (await world.ring.liveViews()).filter(({ account_id }) => account_id === ringUser.account_id);
    expect(views.map(({ state }) => state)).toEqual(['closed']);
  });
});

describe('of a changed e-mail, Ring', () => {
  const identifierAtRing = async (ringUser: RingUser) =>
    (await world.ring.integrationOf(ringUser))?.account_identifier ?? null;

  const untilTold = (ringUser: RingUser, email: string) =>
    until('Ring knows the new name', async () => (await identifierAtRing(ringUser)) === masked(email));

  const untold = async (ringUser: RingUser) => {
    const [link] = await world.sql<Pick<Tables['account_links'], 'is_identifier_untold'>>(
      'SELECT is_identifier_untold FROM account_links WHERE account_id = $1',
      [ringUser.account_id],
    );
    return link?.is_identifier_untold;
  };

  test('is told the masked form for every link of the user, and for no other', async () => {
    const { visitor, ringUser: first } = await linked(world);
    const second = await installed(world);
    await arriving(world, second, visitor);
    await visitor.submit('/ring/link');
    await untilLink(world, second, 'COMPLETED');
    const { ringUser: foreign } = await linked(world);
    const before = await identifierAtRing(foreign);
    const email = distinctEmail();

    await submitAccountForm(visitor, 'email', { new: email });

    for (const ringUser of [first, second]) {
      await untilTold(ringUser, email);
      expect(await linksOf(world, ringUser)).toMatchObject([
        { account_identifier: masked(email), status: 'COMPLETED' },
      ]);
    }
    await untilJobsAreDone(world, 'tell_identifier');
    expect(await untold(first)).toBe(false);
    expect(await identifierAtRing(foreign)).toBe(before);
    expect(await integrationCalls(world, foreign)).toHaveLength(2);
    // The link keeps its state: linked.
    expect(await world.ring.integrationOf(first)).toMatchObject({ status: 'completed' });
  });

  test('is not asked when the masked form stays the same', async () => {
    const { visitor, ringUser, email } = await linked(world);
    const calls = (await integrationCalls(world, ringUser)).length;

    await submitAccountForm(visitor, 'email', { new: email.replace(/(.)@/, '-$1@') });

    expect(visitor.page.text).toContain(CHANGED_EMAIL);
    await untilJobsAreDone(world);
    expect(await integrationCalls(world, ringUser)).toHaveLength(calls);
  });

  test.each([
    ['down', { kind: 'status', status: 503 }],
    ['silent until the connection breaks', { kind: 'reset' }],
    ['asking for a pause', { kind: 'status', status: 429, retryAfterSeconds: 5 }],
  ])('is told later when it is %s at first', async (_how, fault) => {
    const { visitor, ringUser } = await linked(world);
    await world.ring.setFaults([{ endpoint: 'integration-patch', fault, times: 3 }]);
    const email = distinctEmail();

    await submitAccountForm(visitor, 'email', { new: email });
    expect(visitor.page.text).toContain(CHANGED_EMAIL);
    await untilJobsAreDone(world, 'tell_identifier');

    expect(await identifierAtRing(ringUser)).toBe(masked(email));
  });

  test('may say no for good, and is left at that', async () => {
    const { visitor, ringUser } = await linked(world);
    await world.ring.setFaults([{ endpoint: 'integration-patch', fault: { kind: 'status', status: 400 } }]);
    const calls = (await integrationCalls(world, ringUser)).length;

    await submitAccountForm(visitor, 'email', { new: distinctEmail() });
    await untilJobsAreDone(world, 'tell_identifier');

    expect(await integrationCalls(world, ringUser)).toHaveLength(calls + 1);
    expect(world.log.some((line) => line.includes('Ring was asked in vain') && line.includes('tell_identifier'))).toBe(
      true,
    );
    expect(await linksOf(world, ringUser)).toMatchObject([{ status: 'COMPLETED' }]);
    await visitor.open('/ring/home');
    expect(visitor.page.text).toContain('Linked');
  });

  test.each([
    ['before the POST', once('integration-post', { kind: 'hold' }), 'POSTING'],
    ['before the PATCH', once('integration-patch', { kind: 'hold' }), 'PATCHING'],
    ['after the PATCH', once('integration-patch', { kind: 'hold' }, 'after'), 'PATCHING'],
    ['after a PATCH whose answer is lost', once('integration-patch', { kind: 'reset' }, 'after'), 'PATCHING'],
  ])('learns the newest also when it changes while the link is confirmed, %s', async (_when, fault, step) => {
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser, await signedIn(world));
    await world.ring.setFaults([fault]);
    await visitor.submit('/ring/link');
    await until(`the link is at ${step}`, async () => (await linksOf(world, ringUser))[0]?.confirmation_step === step);
    const email = distinctEmail();

    await submitAccountForm(visitor, 'email', { new: email });
    await world.ring.release();

    await untilLink(world, ringUser, 'COMPLETED');
    await untilTold(ringUser, email);
    await untilJobsAreDone(world, 'tell_identifier');
    expect(await untold(ringUser)).toBe(false);
  });

  test('learns the newest when it changes while it is claimed', async () => {
    for (let round = 0; round < 5; round++) {
      const email = newEmail();
      const clicking = await signedIn(world, email);
      const changing = await signIn(world, email);
      const ringUser = await installed(world);
      await arriving(world, ringUser, clicking);
      const newOne = distinctEmail();

      await Promise.all([clicking.submit('/ring/link'), submitAccountForm(changing, 'email', { new: newOne })]);

      expect(changing.page.text).toContain(CHANGED_EMAIL);
      // If the session of the click had ended before, nothing is linked.
      if ((await linksOf(world, ringUser)).length > 0) {
        await untilLink(world, ringUser, 'COMPLETED');
        await untilTold(ringUser, newOne);
      }
    }
  });

  test('learns the last of several changes', async () => {
    const { visitor, ringUser } = await linked(world);
    await world.ring.setFaults([once('integration-patch', { kind: 'hold' })]);
    const emails = [distinctEmail(), distinctEmail(), distinctEmail()];

    for (const email of emails) await submitAccountForm(visitor, 'email', { new: email });
    await world.ring.release();

    await untilJobsAreDone(world, 'tell_identifier');
    expect(await identifierAtRing(ringUser)).toBe(masked(emails[2] ?? ''));
    expect(await untold(ringUser)).toBe(false);
  });

  test('is told when a link that seemed to need its user is whole after all', async () => {
    const owner = await sharing(world);
    const { visitor, ringUser } = owner;
    world.clock.advance(ACCESS_LIFETIME + 1);
    await world.ring.setFaults([once('token', { kind: 'hold' })]);
    const watching = openLiveView(world.url, owner);
    await until('the pair is refreshed', async () => (await tokenOf(world, ringUser)).refresh_state === 'REFRESHING');
    // Another instance leaves the link like this when it takes this one for dead.
    await world.sql(`UPDATE account_links SET status = 'REAUTH_REQUIRED' WHERE account_id = $1`, [ringUser.account_id]);
    const email = distinctEmail();

    await submitAccountForm(visitor, 'email', { new: email });
    expect(await untold(ringUser)).toBe(true);
    await world.ring.release();
    await untilLink(world, ringUser, 'COMPLETED');

    await untilTold(ringUser, email);
    await watching;
  });
});
