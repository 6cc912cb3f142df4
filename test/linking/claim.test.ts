import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { hiddenFields, Visitor } from '../support/clients/visitor.js';
import { untilIdle } from '../support/features/inbox.js';
import {
  cards,
  arriving,
  deliverCode,
  installed,
  integrationCalls,
  isErased,
  linkPath,
  linked,
  linksOf,
  newEmail,
  pairsOf,
  pairStatuses,
  PASSWORD,
  redirectOf,
  signedIn,
  untilLink,
} from '../support/features/linking.js';
import { scrape } from '../support/inspection/metrics.js';
import { scaled } from '../support/waiting/limits.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ patienceMs: scaled(5_000) });
});
afterEach(() => world.ring.setFaults([]));
afterAll(() => world.stop());

const LINKED = 'Your Ring account is linked';
const ALREADY_LINKED = 'Your Ring account is already linked';
const ANOTHER_USER = 'This Ring account is linked to another account';

/** Opens the address that Ring once redirected to, and clicks. */
async function replay(visitor: Visitor, { nonce, time }: { nonce: string; time: string }): Promise<Visitor> {
  await visitor.open(linkPath(nonce, time));
  await visitor.submit('/ring/link');
  return visitor;
}

/** A signed-in visitor of the given instance who is at the button that links. */
async function readyToLink(appUrl: string, path: string): Promise<Visitor> {
  const visitor = new Visitor(appUrl);
  await visitor.open('/ring/home');
  await visitor.submit('/sign-up', { email: newEmail(), password: PASSWORD });
  await visitor.open(path);
  return visitor;
}

describe('several visitors with the same redirect', () => {
  test('two at once: one is linked, the other is told that another user is', async () => {
    const ringUser = await installed(world);
    const { url } = await world.ring.linkUrl(ringUser);
    const visitors = [world.visitor(), world.visitor()];
    await Promise.all(visitors.map((visitor) => visitor.open(url)));

    await Promise.all(visitors.map((visitor) => visitor.submit('/sign-up', { email: newEmail(), password: PASSWORD })));

    expect(visitors.map((visitor) => visitor.page.status).sort()).toEqual([200, 409]);
    expect(visitors.map((visitor) => visitor.heading).sort()).toEqual([ANOTHER_USER, LINKED].sort());
    expect(await linksOf(world, ringUser)).toHaveLength(1);
  });

  test('ten at once on two instances: exactly one is linked, and Ring hears of one', async () => {
    const other = await world.startAnother();
    const ringUser = await installed(world);
    const { nonce, time } = await redirectOf(world, ringUser);
    const appUrls = Array.from({ length: 10 }, (_, at) =>
      at % 2 === 0 ? world.url : `http://localhost:${other.port}`,
    );
    const visitors = await Promise.all(appUrls.map((appUrl) => readyToLink(appUrl, linkPath(nonce, time))));

    await Promise.all(visitors.map((visitor) => visitor.submit('/ring/link')));

    expect(visitors.map(({ heading }) => heading).sort()).toEqual(
      [LINKED, ...Array.from({ length: 9 }, () => ANOTHER_USER)].sort(),
    );
    const losers = visitors.filter(({ heading }) => heading === ANOTHER_USER);
    for (const { page } of losers) {
      expect(page.status).toBe(409);
      expect(page.text).toMatch(/What to do next[\s\S]*sign in with it/);
    }
    const links = await linksOf(world, ringUser);
    expect(links).toHaveLength(1);
    expect(await pairsOf(world, ringUser)).toMatchObject([{ status: 'CLAIMED', id: links[0]?.token_id }]);
    expect((await integrationCalls(world, ringUser)).map(({ method }) => method)).toEqual(['POST', 'PATCH']);
  });

  test('each with a redirect of their own, at once: each gets the Ring account that is theirs', async () => {
    const people = await Promise.all(
      Array.from({ length: 8 }, async () => {
        const ringUser = await installed(world);
        return { ringUser, email: newEmail(), visitor: await arriving(world, ringUser) };
      }),
    );

    await Promise.all(people.map(({ visitor, email }) => visitor.submit('/sign-up', { email, password: PASSWORD })));

    for (const { ringUser, email, visitor } of people) {
      expect(visitor.heading).toBe(LINKED);
      expect(await linksOf(world, ringUser)).toMatchObject([{ email, status: 'COMPLETED' }]);
      expect(await world.ring.integrationOf(ringUser)).toMatchObject({ status: 'completed' });
    }
  });
});

describe('a click that is sent several times at once', () => {
  test.each([2, 6])('%d times: one link, and every answer says success', async (times) => {
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser, await signedIn(world));
    const form = hiddenFields(visitor.page.text, '/ring/link');

    const pages = await Promise.all(Array.from({ length: times }, () => visitor.post('/ring/link', form)));

    for (const { status, text } of pages) {
      expect(status).toBe(200);
      expect(text).toMatch(/Your Ring account is (already )?linked/);
    }
    expect(await linksOf(world, ringUser)).toMatchObject([{ status: 'COMPLETED' }]);
    expect((await integrationCalls(world, ringUser)).map(({ method }) => method)).toEqual(['POST', 'PATCH']);
  });
});

describe('a redirect that was used', () => {
  test('tells its user that the account is linked already', async () => {
    const { visitor, ringUser, redirect } = await linkedByRedirect();
    await untilIdle(world);
    const [link] = await linksOf(world, ringUser);

    await replay(visitor, redirect);

    expect(visitor.page.status).toBe(200);
    expect(visitor.heading).toBe(ALREADY_LINKED);
    expect(await linksOf(world, ringUser)).toEqual([link]);
    expect(await integrationCalls(world, ringUser)).toHaveLength(2);
  });

  test('gives another user nothing', async () => {
    const { ringUser, redirect } = await linkedByRedirect();
    await untilIdle(world);
    const links = await linksOf(world, ringUser);

    const thief = await replay(await signedIn(world), redirect);

    expect(thief.page.status).toBe(409);
    expect(thief.heading).toBe(ANOTHER_USER);
    expect(await linksOf(world, ringUser)).toEqual(links);
    await thief.open('/ring/home');
    expect(thief.page.text).toContain('No Ring account is linked yet');
  });

  test('does not claim the pair of a later installation, which a fresh one does', async () => {
    const { visitor, ringUser, redirect } = await linkedByRedirect();
    world.clock.advance(1);
    await installed(world, ringUser);

    await replay(visitor, redirect);
    expect(await pairStatuses(world, ringUser)).toContain('UNCLAIMED');

    await arriving(world, ringUser, visitor);
    await visitor.submit('/ring/link');
    expect(visitor.heading).toBe(LINKED);
    expect(await world.ring.integrationOf(ringUser)).toMatchObject({ status: 'completed' });
  });

  async function linkedByRedirect() {
    const ringUser = await installed(world);
    const redirect = await redirectOf(world, ringUser);
    const visitor = await replay(await signedIn(world), redirect);
    expect(visitor.heading).toBe(LINKED);
    return { ringUser, redirect, visitor };
  }
});

describe('a linked user who installs the app again', () => {
  test('renews the link; the new pair serves it and the old one is erased', async () => {
    const { visitor, ringUser } = await linked(world);
    const [before] = await linksOf(world, ringUser);
    world.clock.advance(1);
    await installed(world, ringUser);

    await arriving(world, ringUser, visitor);
    await visitor.submit('/ring/link');

    expect(visitor.heading).toBe(LINKED);
    const [former, current] = await pairsOf(world, ringUser);
    expect(former).toMatchObject({ id: before?.token_id, status: 'REVOKED' });
    expect(isErased(former)).toBe(true);
    expect(current?.status).toBe('CLAIMED');
    expect(isErased(current)).toBe(false);
    expect(await linksOf(world, ringUser)).toMatchObject([
      { id: before?.id, status: 'COMPLETED', token_id: current?.id, request_ciphertext: null },
    ]);
    expect(await world.ring.integrationOf(ringUser)).toMatchObject({ status: 'completed' });
  });

  test('renews it also when the new pair is slower than the browser', async () => {
    const { visitor, ringUser } = await linked(world);
    world.clock.advance(1);
    const { code } = await world.ring.issueCode(ringUser);
    await arriving(world, ringUser, visitor);

    const walks = async () => (await scrape(world.url)).count('ring_link_match_candidates_count');
    const before = await walks();

    const outcome = visitor.submit('/ring/link');
    await until('the pool was searched in vain', async () => (await walks()) > before);
    expect(await deliverCode(world, code)).toBe(200);
    await outcome;

    await until('the new pair serves the link', async () => {
      const [former, current] = await pairsOf(world, ringUser);
      return former?.status === 'REVOKED' && current?.status === 'CLAIMED';
    });
    await untilLink(world, ringUser, 'COMPLETED');
    expect(await world.ring.integrationOf(ringUser)).toMatchObject({ status: 'completed' });
  });

  test('in the middle of a click still gets exactly one link', async () => {
    const { visitor, ringUser } = await linked(world);
    world.clock.advance(1);
    await installed(world, ringUser);
    await arriving(world, ringUser, visitor);
    const form = hiddenFields(visitor.page.text, '/ring/link');

    await Promise.all(Array.from({ length: 4 }, () => visitor.post('/ring/link', form)));

    await untilLink(world, ringUser, 'COMPLETED');
    expect(await linksOf(world, ringUser)).toHaveLength(1);
    expect(await pairStatuses(world, ringUser)).toEqual(['REVOKED', 'CLAIMED']);
  });
});

describe('a new pair for an account that another user has linked', () => {
  test('is refused to all other users, stays in the pool, and is there for its owner', async () => {
    const { visitor: owner, ringUser } = await linked(world);
    // What follows a link is asked of Ring with the pair that the new installation ends.
    await untilIdle(world);
    const [link] = await linksOf(world, ringUser);
    world.clock.advance(1);
    await installed(world, ringUser);

    const stranger = await arriving(world, ringUser, await signedIn(world));
    await stranger.submit('/ring/link');

    expect(stranger.page.status).toBe(409);
    expect(stranger.heading).toBe(ANOTHER_USER);
    expect(await linksOf(world, ringUser)).toEqual([link]);
    expect(await pairStatuses(world, ringUser)).toEqual(expect.arrayContaining(['CLAIMED', 'UNCLAIMED']));
    await arriving(world, ringUser, owner);
    await owner.submit('/ring/link');
    expect(owner.heading).toBe(LINKED);
  });

  test('can still be claimed by its owner when the stranger stays at the page and changes the account', async () => {
    const { ringUser, email } = await linked(world);
    world.clock.advance(1);
    await installed(world, ringUser);
    const visitor = await arriving(world, ringUser, await signedIn(world));
    await visitor.submit('/ring/link');
    expect(visitor.heading).toBe(ANOTHER_USER);

    await visitor.open('/ring/link');
    await visitor.submit('/sign-out');
    await visitor.submit('/sign-in', { email, password: PASSWORD });

    expect(visitor.heading).toBe(LINKED);
  });
});

describe('a Ring account of which a subscription has stayed behind after an earlier link', () => {
  test('tells its next user nothing of it', async () => {
    const ringUser = await world.ring.createUser();
    await world.sql(
      `INSERT INTO subscriptions (account_id, id, sub_type, status, device_ids, fetched_at)
       VALUES ($1, 'subscription', 'paid', 'active', '{}', now())`,
      [ringUser.account_id],
    );
    await world.ring.setFaults([{ endpoint: 'subscriptions', fault: { kind: 'status', status: 500 } }]);

    const { visitor } = await linked(world, ringUser);

    await visitor.open('/ring/home');
    expect(cards(visitor)).toEqual(['Linked']);
    expect(visitor.page.text).not.toContain('Paid subscription');
  });
});

describe('a user with several Ring accounts', () => {
  test('links each of them, and sees each at home', async () => {
    const { visitor } = await linked(world);
    const second = await installed(world);

    await arriving(world, second, visitor);
    await visitor.submit('/ring/link');

    expect(visitor.heading).toBe(LINKED);
    await visitor.open('/ring/home');
    expect(cards(visitor)).toEqual(['Linked', 'Linked']);
  });
});
