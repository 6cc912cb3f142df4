import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { send } from '../support/clients/http.js';
import type { Visitor } from '../support/clients/visitor.js';
import { deliver, newEvent } from '../support/clients/webhooks.js';
import { inboxOf, untilProcessed } from '../support/features/inbox.js';
import {
  arriving,
  deliverCode,
  installed,
  isErased,
  linked,
  linksOf,
  once,
  pairStatuses,
  pairsOf,
  signedIn,
  untilLink,
} from '../support/features/linking.js';
import { holdLock, untilLocksAwaited } from '../support/waiting/locks.js';
import { until } from '../support/waiting/until.js';
import type { RingUser } from '../support/worlds/ring.js';
import { startWorld, TestClock, type World } from '../support/worlds/world.js';

/** The user removes the app in the Ring app and adds it again. Ring's webhook of the removal may come at any moment. */

const LINKED = 'Your Ring account is linked';
const APP_REMOVED = 'This app was removed in the Ring app';
const LINK_ENDED = 'This link has ended';

/** LINK_CLOCK_SKEW_SECONDS */
const SKEW = 5;

let world: World;
/** The seconds by which Ring's clock is ahead of ours. */
let ringAhead = 0;
const visitors = new Map<Moment, Visitor>();
beforeAll(async () => {
  const before = new TestClock();
  const ours = () => ((world as World | undefined)?.clock ?? before).now().getTime();
  world = await startWorld({ patienceMs: 100, ringNow: () => ours() + ringAhead * 1_000 });
});
afterEach(() => world.ring.setFaults([]));
afterAll(() => world.stop());

const ringNow = (): number => world.clock.now().getTime() + ringAhead * 1_000;

/** The moment when the webhook of the removal reaches us, while the user links the app that was added again. */
const MOMENTS = [
  'before the code',
  'while the code is exchanged',
  'before the account of the pair is known',
  'before the redirect',
  'before the claim',
  'after the claim',
  'an hour later',
] as const;
type Moment = (typeof MOMENTS)[number];

interface Life {
  moment: Moment;
  visitor: Visitor;
  ringUser: RingUser;
  /** The time of the removal, by Ring's clock. */
  removedAt: number;
  isTold: boolean;
}

/** Each life has a new Ring account. The users are shared. */
async function newLives(moments: readonly Moment[]): Promise<Life[]> {
  const lives: Life[] = [];
  for (const moment of moments) {
    const visitor = visitors.get(moment) ?? (await signedIn(world));
    visitors.set(moment, visitor);
    lives.push({ moment, visitor, ringUser: await world.ring.createUser(), removedAt: 0, isTold: false });
  }
  return lives;
}

/** Ring's webhook of the removal arrives if this is its moment. Its own time stays the time of the removal. */
async function tellAt(moment: Moment, life: Life): Promise<void> {
  if (life.moment !== moment) return;
  const { attempts } = await world.ring.sendEvent({
    user_id: life.ringUser.id,
    type: 'app_integration_removed',
    timestamp: life.removedAt,
    effect: false,
  });
  expect(attempts).toMatchObject([{ status: 200 }]);
  life.isTold = true;
}

/**
 * The code reaches us. The webhook of the removal comes before it, during the exchange, or before the pair is
 * identified.
 */
async function deliverAround(life: Life, code: string, isRemoved: () => Promise<void>): Promise<void> {
  const { moment, ringUser } = life;
  if (moment === 'before the code') {
    await isRemoved();
    await tellAt(moment, life);
    await untilProcessed(world, ringUser);
    await deliverCode(world, code);
  } else if (moment === 'while the code is exchanged') {
    // Ring has answered with the pair, and the pair can't be stored yet.
    const release = await holdLock(world, 'LOCK TABLE ring_tokens IN SHARE MODE');
    const delivered = deliverCode(world, code);
    await untilLocksAwaited(world, 1);
    await isRemoved();
    await tellAt(moment, life);
    await release();
    await delivered;
  } else if (moment === 'before the account of the pair is known') {
    const asked = async () => {
      const requests = await world.ring.requests();
      return requests.filter((one) => one.path === '/v1/users/me' && one.account_id === ringUser.account_id).length;
    };
    const askedBefore = await asked();
    await world.ring.setFaults([once('users-me', { kind: 'hold' }, 'after')]);
    await deliverCode(world, code);
    await until('Ring is asked whose it is', async () => (await asked()) > askedBefore);
    await isRemoved();
    await tellAt(moment, life);
    await until('the removal is applied', async () =>
      (await inboxOf(world, ringUser)).every(({ status }) => status === 'PROCESSED'),
    );
    await world.ring.release();
  } else {
    await deliverCode(world, code);
  }
}

/** The heading that the user reads in the end. */
async function headingInTheEnd({ visitor, ringUser }: Life): Promise<string> {
  await untilProcessed(world, ringUser);
  await until('the link is confirmed or has ended', async () =>
    (await linksOf(world, ringUser)).every(({ status }) => status !== 'CONFIRMING'),
  );
  const { heading } = visitor;
  if (heading === APP_REMOVED) return heading;
  await visitor.open('/ring/link');
  return visitor.heading;
}

async function inParallelOrAlone(lives: Life[], live: (life: Life) => Promise<void>): Promise<void> {
  // These moments hold up all other lives, or the next one.
  const alone: Moment[] = ['while the code is exchanged', 'before the account of the pair is known'];
  for (const life of lives.filter(({ moment }) => alone.includes(moment))) await live(life);
  await Promise.all(lives.filter(({ moment }) => !alone.includes(moment)).map(live));
}

/** Checks the log's lines after the first `from`. */
function expectKeyNotBlamed(from: number): void {
  expect(world.log.slice(from).filter((line) => line.includes('RING_HMAC_KEY'))).toEqual([]);
}

/**
 * The heading that is right by the order of things alone. Times are in seconds since the removal.
 *
 * - A removal that we received before the pair was stored does not end the pair.
 * - A removal that comes while the pair waits for its user ends it, unless the clocks can't differ by as much.
 * - After the claim we know that the app was there when Ring signed the redirect: by Ring's clock, as the removal.
 */
function rightHeading(moment: Moment, addedAfter: number): string {
  const removal = ringAhead;
  const code = addedAfter;
  const redirect = addedAfter + ringAhead;
  switch (moment) {
    case 'before the code':
    case 'while the code is exchanged':
      return LINKED;
    case 'before the account of the pair is known':
    case 'before the redirect':
    case 'before the claim':
      return removal < code - SKEW ? LINKED : APP_REMOVED;
    case 'after the claim':
    case 'an hour later':
      return removal < redirect ? LINKED : LINK_ENDED;
  }
}

describe('a linked app that is removed and added again', () => {
  test.each([
    { addedAfter: 0, ahead: 0 },
    { addedAfter: 1, ahead: 0 },
    { addedAfter: 3, ahead: 0 },
    { addedAfter: 6, ahead: 0 },
    { addedAfter: 6, ahead: 3 },
    { addedAfter: 3, ahead: -3 },
  ])(
    'after $addedAfter s, with a clock of Ring’s that is $ahead s ahead, is linked or honestly ended',
    async ({ addedAfter, ahead }) => {
      ringAhead = ahead;
      const from = world.log.length;
      const lives = await newLives(MOMENTS);
      await Promise.all(
        lives.map(async ({ ringUser, visitor }) => {
          await installed(world, ringUser);
          await arriving(world, ringUser, visitor);
          await visitor.submit('/ring/link');
          await untilLink(world, ringUser, 'COMPLETED');
        }),
      );
      world.clock.advance(60);
      for (const life of lives) {
        await world.ring.removeApp(life.ringUser);
        life.removedAt = ringNow();
      }
      world.clock.advance(addedAfter);

      await inParallelOrAlone(lives, async (life) => {
        const { visitor, ringUser } = life;
        const { code } = await world.ring.issueCode(ringUser);
        await deliverAround(life, code, () => Promise.resolve());
        await until('we know whose the pair is', async () => (await pairsOf(world, ringUser)).length === 2);
        await tellAt('before the redirect', life);
        if (life.isTold) await untilProcessed(world, ringUser);
        await arriving(world, ringUser, visitor);
        await tellAt('before the claim', life);
        if (life.isTold) await untilProcessed(world, ringUser);
        await visitor.submit('/ring/link');
        await tellAt('after the claim', life);
      });
      await Promise.all(lives.map(headingInTheEnd));
      world.clock.advance(3_600);
      for (const life of lives) await tellAt('an hour later', life);

      const outcomes: Record<string, string> = {};
      for (const life of lives) outcomes[life.moment] = await headingInTheEnd(life);
      expect(outcomes).toEqual(Object.fromEntries(MOMENTS.map((moment) => [moment, rightHeading(moment, addedAfter)])));
      expectKeyNotBlamed(from);
      for (const { ringUser, moment } of lives) await expectWhole(ringUser, outcomes[moment]);
    },
    120_000,
  );

  /** Expects links, pairs and Ring to agree with what the user was told. */
  async function expectWhole(ringUser: RingUser, heading: string | undefined): Promise<void> {
    const live = (await linksOf(world, ringUser)).filter(({ status }) => status !== 'REMOVED');
    const pairs = await pairsOf(world, ringUser);
    expect(live.map(({ status }) => status)).toEqual(heading === LINKED ? ['COMPLETED'] : []);
    expect(pairs.filter((pair) => !isErased(pair)).map(({ id }) => id)).toEqual(live.map(({ token_id }) => token_id));
    if (heading === LINKED) expect(await world.ring.integrationOf(ringUser)).toMatchObject({ status: 'completed' });
  }
});

describe('an app that is removed a second after it was added', () => {
  test.each([0, 3, -3])(
    'is not linked, with a clock of Ring’s that is %d s ahead',
    async (ahead) => {
      ringAhead = ahead;
      const from = world.log.length;
      const lives = await newLives(MOMENTS.filter((moment) => moment !== 'before the redirect'));

      await inParallelOrAlone(lives, async (life) => {
        const { visitor, ringUser } = life;
        const isRemoved = async () => {
          life.removedAt = ringNow() + 1_000;
          await world.ring.removeApp(ringUser);
        };
        const { code } = await world.ring.issueCode(ringUser);
        await arriving(world, ringUser, visitor);
        await deliverAround(life, code, isRemoved);
        if (life.moment === 'before the claim') {
          await until('the pair is in the pool', async () => (await pairsOf(world, ringUser)).length === 1);
          await isRemoved();
          await tellAt('before the claim', life);
        }
        if (life.isTold) await untilProcessed(world, ringUser);
        else await until('the pair is in the pool', async () => (await pairsOf(world, ringUser)).length === 1);
        await visitor.submit('/ring/link');
        if (life.moment === 'after the claim' || life.moment === 'an hour later') {
          await untilLink(world, ringUser, 'COMPLETED');
          await isRemoved();
        }
        await tellAt('after the claim', life);
      });
      world.clock.advance(3_600);
      for (const life of lives) await tellAt('an hour later', life);

      for (const life of lives) {
        const isLate = life.moment === 'after the claim' || life.moment === 'an hour later';
        expect([life.moment, await headingInTheEnd(life)]).toEqual([life.moment, isLate ? LINK_ENDED : APP_REMOVED]);
        expect((await linksOf(world, life.ringUser)).filter(({ status }) => status !== 'REMOVED')).toEqual([]);
        expect((await pairsOf(world, life.ringUser)).every(isErased)).toBe(true);
      }
      expectKeyNotBlamed(from);
    },
    120_000,
  );
});

describe('with another instance whose clock is 30 s ahead', () => {
  let ahead: string;
  beforeAll(async () => {
    ringAhead = 0;
    ahead = `http://localhost:${(await world.startAnother(30)).port}`;
  });

  test('a removal that it has received does not end the pair that we receive then', async () => {
    const { ringUser, visitor } = await linked(world);
    world.clock.advance(60);
    await world.ring.removeApp(ringUser);
    const removal = newEvent({
      accountId: ringUser.account_id,
      type: 'app_integration_removed',
      timestamp: ringNow(),
    });
    expect((await deliver(ahead, JSON.stringify(removal))).status).toBe(200);
    await untilProcessed(world, ringUser);
    world.clock.advance(1);

    await installed(world, ringUser);
    await arriving(world, ringUser, visitor);
    await visitor.submit('/ring/link');

    expect(await untilLink(world, ringUser, 'COMPLETED')).toMatchObject({ status: 'COMPLETED' });
  });

  test('a pair that it has received gives way to the one that we receive then', async () => {
    const ringUser = await world.ring.createUser();
    const { code } = await world.ring.issueCode(ringUser);
    expect((await send(ahead, '/ring/token', { form: { code } })).status).toBe(200);
    await until('the first pair is in the pool', async () => (await pairsOf(world, ringUser)).length === 1);
    world.clock.advance(10);

    const visitor = await arriving(world, await installedAgain(ringUser), await signedIn(world));
    await visitor.submit('/ring/link');

    await untilLink(world, ringUser, 'COMPLETED');
    expect((await pairStatuses(world, ringUser)).sort()).toEqual(['CLAIMED', 'EXPIRED']);
  });

  async function installedAgain(ringUser: RingUser): Promise<RingUser> {
    await world.ring.install(ringUser);
    await until('the second pair is known', async () => (await pairsOf(world, ringUser)).length === 2);
    return ringUser;
  }
});

describe('another event of the earlier installation', () => {
  beforeAll(() => {
    ringAhead = 0;
  });

  test('a removal of a device that came before the new pair does not hide the device', async () => {
    const { ringUser, visitor } = await linked(world);
    const [device] = ringUser.devices;
    world.clock.advance(60);
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'app_integration_removed' });
    await untilProcessed(world, ringUser);
    await world.ring.sendEvent({
      user_id: ringUser.id,
      type: 'device_removed',
      device_id: device?.id ?? '',
      timestamp: ringNow() + 5,
      effect: false,
    });
    world.clock.advance(1);

    await installed(world, ringUser);
    await arriving(world, ringUser, visitor);
    await visitor.submit('/ring/link');
    await untilLink(world, ringUser, 'COMPLETED');
    await untilProcessed(world, ringUser);

    expect((await inboxOf(world, ringUser)).map(({ status }) => status)).toEqual(['PROCESSED', 'PROCESSED']);
    await visitor.open('/ring/home');
    expect(visitor.page.text).toContain(device?.name);
    expect(visitor.page.text).not.toContain('Removed in the Ring app');
  });

  test('a confirmation that came late is not taken for one of the new link', async () => {
    const { ringUser, visitor } = await linked(world);
    const confirmedAt = ringNow();
    world.clock.advance(60);
    await installed(world, ringUser);
    await arriving(world, ringUser, visitor);
    await visitor.submit('/ring/link');
    await untilLink(world, ringUser, 'COMPLETED');

    await world.ring.sendEvent({ user_id: ringUser.id, type: 'app_integration_added', timestamp: confirmedAt });
    await untilProcessed(world, ringUser);
    expect(await linksOf(world, ringUser)).toMatchObject([{ ring_confirmed_at: null }]);

    await world.ring.sendEvent({ user_id: ringUser.id, type: 'app_integration_added' });
    await untilProcessed(world, ringUser);
    expect(await linksOf(world, ringUser)).toMatchObject([{ ring_confirmed_at: world.clock.now() }]);
  });

  test('of a pair that an earlier version has stored, the times alone decide', async () => {
    const { ringUser } = await linked(world);
    await world.sql('UPDATE ring_tokens SET arrival = 0, installed_since = NULL WHERE account_id = $1', [
      ringUser.account_id,
    ]);
    const tell = (timestamp: number) =>
      world.ring.sendEvent({ user_id: ringUser.id, type: 'app_integration_removed', timestamp, effect: false });

    await tell(ringNow() - 60_000);
    await untilProcessed(world, ringUser);
    expect(await linksOf(world, ringUser)).toMatchObject([{ status: 'COMPLETED' }]);

    await tell(ringNow());
    await untilProcessed(world, ringUser);
    expect(await linksOf(world, ringUser)).toMatchObject([{ status: 'REMOVED' }]);
  });
});

describe('a user whose pair has ended because the app was removed', () => {
  beforeAll(() => {
    ringAhead = 0;
  });

  async function removedBeforeClaim(): Promise<{ visitor: Visitor; ringUser: RingUser }> {
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser, await signedIn(world));
    world.clock.advance(1);
    await world.ring.sendEvent({ user_id: ringUser.id, type: 'app_integration_removed' });
    await untilProcessed(world, ringUser);
    return { visitor, ringUser };
  }

  test('is told so, and what to do; the log names the reason', async () => {
    const { visitor } = await removedBeforeClaim();
    const from = world.log.length;

    await visitor.submit('/ring/link');

    expect(visitor.page.status).toBe(409);
    expect(visitor.heading).toBe(APP_REMOVED);
    expect(visitor.page.text).toMatch(/What to do next[\s\S]*add it again from the Ring Appstore/);
    const warnings = world.log.slice(from).filter((line) => line.includes('"outcome":"app-removed"'));
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toContain('removed the app in the Ring app');
    expectKeyNotBlamed(from);
  });

  test('does what the page says, and is linked', async () => {
    const { visitor, ringUser } = await removedBeforeClaim();
    await visitor.submit('/ring/link');
    world.clock.advance(30);

    await installed(world, ringUser);
    await arriving(world, ringUser, visitor);
    await visitor.submit('/ring/link');

    await untilLink(world, ringUser, 'COMPLETED');
    await visitor.open('/ring/link');
    expect(visitor.heading).toBe(LINKED);
  });

  test('is told like any unknown user when the removal is long ago', async () => {
    const { ringUser } = await removedBeforeClaim();
    const stranger = await world.ring.createUser();
    world.clock.advance(15 * 60 + 1);
    for (const user of [ringUser, stranger]) {
      await world.ring.issueCode(user);
      const visitor = await arriving(world, user, await signedIn(world));

      await visitor.submit('/ring/link');

      expect(visitor.page.status).toBe(404);
    }
  });
});
