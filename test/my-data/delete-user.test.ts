import { randomUUID } from 'node:crypto';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import type { Visitor } from '../support/clients/visitor.js';
import { type Owner, sharing } from '../support/features/devices.js';
import { inboxOf, untilIdle, untilProcessed } from '../support/features/inbox.js';
import {
  arriving,
  installed,
  linksOf,
  newEmail,
  once,
  pairsOf,
  pairStatuses,
  PASSWORD,
  signedIn,
  untilLink,
} from '../support/features/linking.js';
import { openLiveView } from '../support/features/live-views.js';
import { deleteAccount, isSignedIn, newResident, signIn, submitAccountForm } from '../support/features/my-data.js';
import { ACCESS_LIFETIME, tokenOf } from '../support/features/tokens.js';
import { tracesOf } from '../support/inspection/traces.js';
import { untilJobsAreDone } from '../support/waiting/jobs.js';
import { scaled } from '../support/waiting/limits.js';
import { holdLock, untilLocksAwaited } from '../support/waiting/locks.js';
import { until } from '../support/waiting/until.js';
import type { RingUser } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

const DELETED = 'Your account is deleted';

let world: World;
beforeAll(async () => {
  world = await startWorld({ patienceMs: scaled(100) });
});
afterEach(() => world.ring.setFaults([]));
afterAll(() => world.stop());

type AuditRow = Tables['audit_archive'] & { counts: Record<string, number> };

const auditOf = (userId: string) =>
  world.sql<AuditRow>('SELECT * FROM audit_archive WHERE user_id = $1 ORDER BY archived_at, kind DESC', [userId]);

const stateAtRing = async ({ account_id }: RingUser) =>
  (await world.ring.liveViews()).filter((view) => view.account_id === account_id).map(({ state }) => state);

const deadlocks = () => world.log.filter((line) => line.includes('deadlock'));

/** Another user installs the app for this Ring account and links it. */
async function linkedByNext(ringUser: RingUser): Promise<Visitor> {
  world.clock.advance(60);
  const next = await signedIn(world);
  await arriving(world, await installed(world, ringUser), next);
  await next.submit('/ring/link');
  await untilLink(world, ringUser, 'COMPLETED');
  await untilIdle(world);
  return next;
}

async function removeInRingApp(ringUser: RingUser): Promise<void> {
  world.clock.advance(1);
  await world.ring.sendEvent({ user_id: ringUser.id, type: 'app_integration_removed' });
  await untilProcessed(world, ringUser);
}

async function inboxInDownload(visitor: Visitor): Promise<unknown[]> {
  const { text } = await visitor.open('/account/data');
  return (JSON.parse(text) as { webhook_events: unknown[] }).webhook_events;
}

const motionsOf = ({ account_id }: RingUser) =>
  world.sql(`SELECT occurred_at FROM device_events WHERE account_id = $1 AND type = 'motion_detected'`, [account_id]);

/** The tables, those of the queue included, with a row that tells of this user. */
async function tracesOfOwner(
  { ringUser, device, userId }: Owner,
  ...more: string[]
): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {};
  for (const text of [ringUser.account_id, device.id, device.name, userId, ...more]) {
    const tables = await tracesOf(world, text);
    if (tables.length > 0) found[text] = tables;
  }
  return found;
}

describe('deleting the account', () => {
  test('erases everything in every table, but for audit rows that name no user', async () => {
    const resident = await newResident(world);
    const { visitor, userId, ringUser, email, device, removedDevice, picture } = resident;
    const [link] = await linksOf(world, ringUser);
    const [pair] = await pairsOf(world, ringUser);
    if (link === undefined || pair === undefined) throw new Error('nothing is linked');
    // The search does find existing texts.
    expect(await tracesOf(world, device.name)).toEqual(['devices']);
    expect(await tracesOf(world, ringUser.account_id)).toContain('webhook_events');

    await deleteAccount(visitor);

    expect(visitor.page.status).toBe(200);
    expect(visitor.heading).toBe(DELETED);
    expect(visitor.page.text).toContain('My Apps');
    await untilIdle(world);
    const personal = [
      email,
      link.account_identifier,
      ...[
        pair.id,
        pair.access_token_ciphertext?.toString('hex') ?? '',
        pair.refresh_token_ciphertext?.toString('hex') ?? '',
      ],
      removedDevice.id,
      removedDevice.name,
      picture.toString('hex'),
    ];
    expect(await tracesOfOwner(resident, ...personal)).toEqual({ [userId]: ['audit_archive'] });
    expect(await tracesOf(world, link.id)).toEqual(['audit_archive']);

    const [removal, deletion, ...others] = await auditOf(userId);
    expect(others).toEqual([]);
    const emptied = { account_id: null, account_identifier: null, device_id: null, request_id: null, devices: [] };
    expect(removal).toMatchObject({ kind: 'DEVICE_REMOVED', reason: 'device_removed', link_id: link.id, ...emptied });
    expect(deletion).toMatchObject({
      kind: 'ACCOUNT_DELETED',
      reason: 'deleted by its user',
      link_id: null,
      ...emptied,
      counts: {
        account_links: 1,
        devices: 2,
        snapshots: 1,
        subscriptions: 1,
        live_views: 1,
        scheduled_operations: 1,
      },
    });
    expect(deletion?.counts.device_events).toBeGreaterThanOrEqual(2);
    expect(removal?.erased_at).toEqual(world.clock.now());
  });

  test('closes the live view at Ring, and takes no more pictures', async () => {
    const { visitor, ringUser } = await newResident(world);
    expect(await stateAtRing(ringUser)).toEqual(['open']);

    await deleteAccount(visitor);

    expect(await stateAtRing(ringUser)).toEqual(['closed']);
  });

  test('signs the user out everywhere, and frees the e-mail for a new account', async () => {
    const email = newEmail();
    const visitor = await signedIn(world, email);
    const other = await signIn(world, email);

    await deleteAccount(visitor);

    expect(await isSignedIn(visitor)).toBe(false);
    expect(await isSignedIn(other)).toBe(false);
    expect(await isSignedIn(await signIn(world, email))).toBe(false);
    expect(await isSignedIn(await signedIn(world, email))).toBe(true);
  });

  test.each([
    ['the word is missing', { confirmation: '' }, 'Type DELETE to confirm'],
    ['it is another word', { confirmation: 'yes' }, 'Type DELETE to confirm'],
    ['the password is missing', { confirmation: 'DELETE', current: '' }, 'Enter your current password'],
    ['the password is wrong', { confirmation: 'DELETE', current: 'a wrong one' }, 'This is not your current password'],
  ])('does nothing when %s, and says so beside the field', async (_what, fields, complaint) => {
    const email = newEmail();
    const visitor = await signedIn(world, email);
    await submitAccountForm(visitor, 'delete', fields);
    expect(visitor.page.status).toBe(400);
    expect(visitor.page.text).toContain(complaint);
    expect(await isSignedIn(await signIn(world, email))).toBe(true);
  });

  test('takes the word in small letters and with spaces, as a telephone writes it', async () => {
    const visitor = await signedIn(world);
    await submitAccountForm(visitor, 'delete', { confirmation: ' Delete ' });
    expect(visitor.heading).toBe(DELETED);
  });

  test('asked for twice at once happens once', async () => {
    for (let round = 0; round < 3; round++) {
      const { visitor, userId } = await sharing(world, { name: `Door ${randomUUID()}` });
      await visitor.open('/account');
      const fields = { confirmation: 'DELETE', current: PASSWORD };

      const answers = await Promise.all([1, 2, 3].map(() => visitor.submit('/account/delete', fields)));

      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
      expect((await auditOf(userId)).map(({ kind }) => kind)).toEqual(['ACCOUNT_DELETED']);
    }
  });

  test('erases also the rest of links that have ended', async () => {
    const { visitor, ringUser, userId } = await newResident(world);
    await removeInRingApp(ringUser);

    await deleteAccount(visitor);

    await untilIdle(world);
    expect(await tracesOf(world, ringUser.account_id)).toEqual([]);
    expect((await auditOf(userId)).map(({ kind }) => kind).sort()).toEqual([
      'ACCOUNT_DELETED',
      'DEVICE_REMOVED',
      'LINK_REMOVED',
    ]);
  });

  test('leaves a Ring account alone that is another user’s by now', async () => {
    const former = await newResident(world);
    const { ringUser } = former;
    await removeInRingApp(ringUser);
    await linkedByNext(ringUser);
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected' });
    await untilProcessed(world, ringUser);
    const held = () =>
      world.sql(
        `SELECT (SELECT count(*) FROM devices WHERE account_id = $1) AS devices,
                (SELECT count(*) FROM device_events WHERE account_id = $1) AS events,
                (SELECT count(*) FROM webhook_events WHERE account_id = $1 AND body IS NOT NULL) AS inbox,
                (SELECT array_agg(status) FROM ring_tokens WHERE account_id = $1) AS pairs,
                (SELECT array_agg(status) FROM account_links WHERE account_id = $1) AS links`,
        [ringUser.account_id],
      );
    const before = await held();
    expect(before).toMatchObject([{ pairs: expect.arrayContaining(['CLAIMED', 'REVOKED']) as unknown }]);

    await deleteAccount(former.visitor);

    expect(await held()).toEqual([{ ...before[0], pairs: ['CLAIMED'], links: ['COMPLETED'] }]);
    expect(await tracesOf(world, former.email)).toEqual([]);
  });

  test('leaves other users alone', async () => {
    const neighbour = await newResident(world);
    const leaving = await newResident(world);
    // A job of the neighbour's that is tried again later would end on its own meanwhile.
    await untilJobsAreDone(world);
    const before = await tracesOfOwner(neighbour, neighbour.email);
    await deleteAccount(leaving.visitor);
    expect(await tracesOfOwner(neighbour, neighbour.email)).toEqual(before);
    expect(await stateAtRing(neighbour.ringUser)).toEqual(['open']);
  });

  test('is possible while Ring is down: the live view ends by itself', async () => {
    const resident = await newResident(world);
    await world.ring.setFaults([{ endpoint: 'whep-delete', fault: { kind: 'silence' } }]);
    const hasGivenUp = () => world.log.some((line) => line.includes('a live view is not closed at Ring'));

    await deleteAccount(resident.visitor);

    expect(resident.visitor.heading).toBe(DELETED);
    // The user does not wait for as long as Ring does.
    expect(hasGivenUp()).toBe(false);
    await until('the call is given up', () => Promise.resolve(hasGivenUp()));
    await untilIdle(world);
    expect(Object.keys(await tracesOfOwner(resident))).toEqual([resident.userId]);
    world.clock.advance(61);
    expect(await stateAtRing(resident.ringUser)).toEqual(['expired']);
  });

  test('says to wait when the database is busy, and can then be asked for again', async () => {
    const resident = await newResident(world);
    const release = await holdLock(world, 'SELECT pg_advisory_xact_lock(hashtextextended($1, 0))', [
      resident.ringUser.account_id,
    ]);
    await deleteAccount(resident.visitor);
    expect(resident.visitor.page.status).toBe(503);
    await release();
    expect(await linksOf(world, resident.ringUser)).toMatchObject([{ status: 'COMPLETED' }]);

    await deleteAccount(resident.visitor);

    expect(resident.visitor.heading).toBe(DELETED);
  });
});

describe('of a Ring account that is another user’s by now', () => {
  test('the inbox of the former user goes with the former user’s account, and not to the next one', async () => {
    const { visitor, ringUser } = await newResident(world);
    await removeInRingApp(ringUser);
    const next = await linkedByNext(ringUser);
    const before = await inboxInDownload(next);

    await deleteAccount(visitor);

    expect(await inboxInDownload(next)).toEqual(before);
  });

  test('a late event of the former user’s time stays void after the former user’s account is deleted', async () => {
    const { visitor, ringUser } = await sharing(world, { name: `Door ${randomUUID()}` });
    world.clock.advance(10);
    const then = world.clock.now().getTime();
    world.clock.advance(10);
    await removeInRingApp(ringUser);
    await linkedByNext(ringUser);
    await deleteAccount(visitor);

    await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected', timestamp: then });

    await untilProcessed(world, ringUser);
    expect(await motionsOf(ringUser)).toEqual([]);
  });

  test('events from before it was installed again are not shown, though Ring’s webhook of the removal was lost', async () => {
    const { visitor, ringUser } = await sharing(world, { name: `Door ${randomUUID()}` });
    await deleteAccount(visitor);
    world.clock.advance(10);
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected' });
    world.clock.advance(600);
    await world.ring.removeApp(ringUser);
    await linkedByNext(ringUser);

    await untilProcessed(world, ringUser);
    expect(await motionsOf(ringUser)).toEqual([]);
  });
});

describe('after the deletion', () => {
  test('a webhook that Ring still sends waits for a link that never comes, and is purged', async () => {
    const { visitor, ringUser, device } = await newResident(world);
    await deleteAccount(visitor);
    await untilIdle(world);

    for (const type of ['motion_detected', 'device_offline', 'device_removed']) {
      const { attempts } = await world.ring.sendEvent({ user_id: ringUser.id, type, device_id: device.id });
      expect(attempts).toMatchObject([{ status: 200 }]);
    }
    await untilIdle(world);

    expect(await tracesOf(world, ringUser.account_id)).toEqual(['webhook_events']);
    expect((await inboxOf(world, ringUser)).map(({ status }) => status)).toEqual(['PENDING', 'PENDING', 'PENDING']);
    await removeInRingApp(ringUser);
    expect((await inboxOf(world, ringUser)).map(({ body }) => body)).toEqual([null, null, null, null]);
    expect(await tracesOf(world, device.id)).toEqual(['webhook_events']);
  });

  test('a webhook that is delivered again is known again', async () => {
    const { visitor, ringUser } = await sharing(world, { name: `Door ${randomUUID()}` });
    const { request_id } = await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected' });
    await untilProcessed(world, ringUser);
    await deleteAccount(visitor);

    const again = await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected', request_id });

    expect(again.attempts).toMatchObject([{ status: 200 }]);
    expect(await inboxOf(world, ringUser)).toEqual([]);
  });

  test('another user can link the same Ring account, and sees nothing of the former one', async () => {
    const former = await newResident(world);
    const { ringUser } = former;
    await deleteAccount(former.visitor);
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected' });
    world.clock.advance(60);
    await removeInRingApp(ringUser);

    await linkedByNext(ringUser);

    const devices = await world.sql('SELECT 1 FROM devices WHERE account_id = $1 AND removed_at IS NULL', [
      ringUser.account_id,
    ]);
    expect(devices.length).toBeGreaterThan(0);
    for (const table of ['device_events', 'snapshots', 'scheduled_operations', 'live_views']) {
      const rows = await world.sql(`SELECT 1 FROM ${table} WHERE account_id = $1`, [ringUser.account_id]);
      expect([table, rows]).toEqual([table, []]);
    }
  });
});

describe('deleting the account while', () => {
  test('webhooks arrive, a live view opens and the e-mail changes: no deadlock, and nothing is left', async () => {
    for (let round = 0; round < 6; round++) {
      const owner = await newResident(world);
      const { visitor, ringUser, device, email, userId } = owner;
      const second = await signIn(world, email);
      await Promise.all([visitor.open('/account'), second.open('/account')]);
      world.clock.advance(1);
      const types = ['motion_detected', 'device_offline', 'device_online', 'device_removed', 'button_press'];

      const [deletion] = await Promise.all([
        visitor.submit('/account/delete', { confirmation: 'DELETE', current: PASSWORD }),
        second.submit('/account/email', { new: newEmail(), current: PASSWORD }),
        openLiveView(world.url, owner),
        world.ring.sendEvents(
          types.map((type) => ({ user_id: ringUser.id, type, device_id: device.id })),
          'simultaneous',
        ),
      ]);

      // If the change of the e-mail was faster, nothing is deleted and the session has ended.
      expect(deletion.status).toBe(200);
      await untilIdle(world);
      const isDeleted = (await world.sql('SELECT 1 FROM users WHERE id = $1', [userId])).length === 0;
      if (!isDeleted) await deleteAccount(second);
      await untilJobsAreDone(world);
      expect(deadlocks()).toEqual([]);
      expect(await tracesOf(world, userId)).toEqual(['audit_archive']);
      expect(await tracesOf(world, device.name)).toEqual([]);
      // Events that came after the erasure wait for a link, and are purged.
      expect((await tracesOf(world, ringUser.account_id)).filter((table) => table !== 'webhook_events')).toEqual([]);
    }
  });

  test('an event is applied: it waits for that, and erases what the event has brought', async () => {
    const { visitor, ringUser, device } = await sharing(world, { name: `Door ${randomUUID()}` });
    const release = await holdLock(world, 'LOCK TABLE device_events IN SHARE MODE');
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'motion_detected' });
    await untilLocksAwaited(world, 1);
    const deleting = deleteAccount(visitor);
    await untilLocksAwaited(world, 2);

    await release();
    await deleting;

    expect(visitor.heading).toBe(DELETED);
    await untilIdle(world);
    expect(await tracesOf(world, ringUser.account_id)).toEqual([]);
    expect(await tracesOf(world, device.id)).toEqual([]);
    expect(deadlocks()).toEqual([]);
  });

  test('a live view is opening: it is closed or ends by itself, and leaves no row', async () => {
    const owner = await sharing(world, { name: `Door ${randomUUID()}` });
    await world.ring.setFaults([once('whep-post', { kind: 'hold' }, 'after')]);
    const opening = openLiveView(world.url, owner);
    await until('Ring has opened it', async () => (await stateAtRing(owner.ringUser)).length > 0);

    await deleteAccount(owner.visitor);
    await world.ring.release();

    expect((await opening).status).toBeGreaterThanOrEqual(400);
    await untilJobsAreDone(world);
    expect(Object.keys(await tracesOfOwner(owner))).toEqual([owner.userId]);
  });

  test('its link is claimed: there is none afterwards', async () => {
    for (let round = 0; round < 8; round++) {
      const email = newEmail();
      const clicking = await signedIn(world, email);
      const deleting = await signIn(world, email);
      await deleting.open('/account');
      const ringUser = await installed(world);
      await arriving(world, ringUser, clicking);

      await Promise.all([
        clicking.submit('/ring/link'),
        deleting.submit('/account/delete', { confirmation: 'DELETE', current: PASSWORD }),
      ]);

      expect(deleting.heading).toBe(DELETED);
      expect(clicking.page.status).toBeLessThan(500);
      await untilJobsAreDone(world, 'confirm_link');
      expect(await world.sql('SELECT 1 FROM account_links WHERE account_id = $1', [ringUser.account_id])).toEqual([]);
      // If the deletion was faster, the pair is left to expire.
      const statuses = await pairStatuses(world, ringUser);
      expect(statuses.filter((status) => status !== 'UNCLAIMED')).toEqual([]);
    }
    expect(deadlocks()).toEqual([]);
  });

  test('a claim waits, and then finds no user to claim for', async () => {
    const email = newEmail();
    const clicking = await signedIn(world, email);
    const deleting = await signIn(world, email);
    await deleting.open('/account');
    const ringUser = await installed(world);
    await arriving(world, ringUser, clicking);
    // The deletion has done everything but the sessions. The claim waits for it.
    const release = await holdLock(
      world,
      `SELECT 1 FROM sessions WHERE sess #>> '{passport,user}' IS NOT NULL FOR UPDATE`,
    );
    const submitting = deleting.submit('/account/delete', { confirmation: 'DELETE', current: PASSWORD });
    await untilLocksAwaited(world, 1);
    const claiming = clicking.submit('/ring/link');
    await untilLocksAwaited(world, 2);

    await release();
    await Promise.all([submitting, claiming]);

    expect(deleting.heading).toBe(DELETED);
    expect(clicking.page.status).toBe(409);
    expect(clicking.page.text).toContain('Your account was deleted in the meantime');
    expect(await pairStatuses(world, ringUser)).toEqual(['UNCLAIMED']);
  });

  test.each([
    ['the POST', once('integration-post', { kind: 'hold' }), 'POSTING'],
    ['the PATCH', once('integration-patch', { kind: 'hold' }, 'after'), 'PATCHING'],
    ['Ring, which is away', once('integration-post', { kind: 'status', status: 503, retryAfterSeconds: 2 }), 'POSTING'],
  ])('its link is confirmed and waits for %s', async (_what, fault, step) => {
    const logged = world.log.length;
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser, await signedIn(world));
    await world.ring.setFaults([fault]);
    await visitor.submit('/ring/link');
    await until(`the link is at ${step}`, async () => (await linksOf(world, ringUser))[0]?.confirmation_step === step);

    await deleteAccount(visitor);
    await world.ring.release();

    expect(visitor.heading).toBe(DELETED);
    await untilJobsAreDone(world);
    expect(await tracesOf(world, ringUser.account_id)).not.toContain('account_links');
    expect(await pairsOf(world, ringUser)).toEqual([]);
    expect(world.log.slice(logged).filter((line) => line.includes('"level":50'))).toEqual([]);
  });

  test('its tokens are refreshed: the new pair is not stored', async () => {
    const owner = await sharing(world, { name: `Door ${randomUUID()}` });
    world.clock.advance(ACCESS_LIFETIME + 1);
    await world.ring.setFaults([once('token', { kind: 'hold' }, 'after')]);
    const watching = openLiveView(world.url, owner);
    await until(
      'the pair is refreshed',
      async () => (await tokenOf(world, owner.ringUser)).refresh_state === 'REFRESHING',
    );

    await deleteAccount(owner.visitor);
    await world.ring.release();

    expect(owner.visitor.heading).toBe(DELETED);
    expect((await watching).status).toBeGreaterThanOrEqual(400);
    await untilJobsAreDone(world);
    expect(Object.keys(await tracesOfOwner(owner))).toEqual([owner.userId]);
  });
});
