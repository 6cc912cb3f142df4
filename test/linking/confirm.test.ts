import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import type { Visitor } from '../support/clients/visitor.js';
import {
  cards,
  arriving,
  installed,
  integrationCalls,
  isErased,
  linkPath,
  linksOf,
  newEmail,
  nonceFor,
  once,
  pairsOf,
  pairStatuses,
  PASSWORD,
  signedIn,
  untilLink,
} from '../support/features/linking.js';
import { scaled } from '../support/waiting/limits.js';
import { until } from '../support/waiting/until.js';
import type { Fault, RingUser } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

const RING_TIMEOUT_MS = scaled(1_000);

let world: World;
beforeAll(async () => {
  world = await startWorld({ patienceMs: scaled(200), ringTimeoutMs: RING_TIMEOUT_MS });
});
afterEach(async () => {
  await world.ring.setFaults([]);
  await world.ring.setIntegrationBody('flat');
});
afterAll(() => world.stop());

const LINKED = 'Your Ring account is linked';
const BEING_FINISHED = 'Your link is being finished';
const NOT_ANSWERING = 'Ring isn’t answering right now';
const REFUSED = 'Ring did not accept the link';

/** A signed-in visitor clicks while Ring misbehaves in this way. */
async function linkWhile(faults: Fault[]): Promise<{ visitor: Visitor; ringUser: RingUser }> {
  const ringUser = await installed(world);
  const visitor = await arriving(world, ringUser, await signedIn(world));
  await world.ring.setFaults(faults);
  await visitor.submit('/ring/link');
  return { visitor, ringUser };
}

/** Skips the pauses between attempts: every waiting job is due now. */
async function passPauses(): Promise<void> {
  await world.sql(`SELECT graphile_worker.reschedule_jobs(array_agg(id), run_at => now())
                     FROM graphile_worker.jobs WHERE locked_at IS NULL`);
  await world.sql(`SELECT pg_notify('jobs:insert', '{"count":1}')`);
}

/** Waits for the link as long as it takes, and skips the pauses between attempts. */
function untilLinkSoon(ringUser: RingUser, status: string) {
  const settled = async () => {
    const [link] = await linksOf(world, ringUser);
    if (link?.status === status) return link;
    await passPauses();
    return undefined;
  };
  return until(`the link is ${status}`, settled);
}

async function expectCompletedOnce(ringUser: RingUser): Promise<void> {
  expect(await linksOf(world, ringUser)).toMatchObject([
    { status: 'COMPLETED', confirmation_step: null, request_ciphertext: null, last_error: null },
  ]);
  expect(await world.ring.integrationOf(ringUser)).toMatchObject({ status: 'completed' });
  expect(await pairStatuses(world, ringUser)).toEqual(['CLAIMED']);
  const effective = (await integrationCalls(world, ringUser)).filter((call) => call.effect_status === 200);
  expect(effective.map(({ method }) => method)).toEqual(['POST', 'PATCH']);
}

describe('Ring that is well', () => {
  test.each(['flat', 'json-api'] as const)(
    'gets one POST and one PATCH, and may answer with a %s body',
    async (shape) => {
      await world.ring.setIntegrationBody(shape);
      const { ringUser } = await linkWhile([]);

      await untilLink(world, ringUser, 'COMPLETED');

      await expectCompletedOnce(ringUser);
      expect(await integrationCalls(world, ringUser)).toMatchObject([
        { method: 'POST', status: 200 },
        { method: 'PATCH', status: 200, requested_status: 'completed' },
      ]);
    },
  );
});

describe('a link that is renewed while Ring keeps silent', () => {
  test('goes on with the new pair, whatever becomes of the job that had the old one', async () => {
    const { visitor, ringUser } = await linkWhile([once('integration-post', { kind: 'silence' })]);
    world.clock.advance(60);
    await installed(world, ringUser);
    await arriving(world, ringUser, visitor);

    await visitor.submit('/ring/link');

    await untilLinkSoon(ringUser, 'COMPLETED');
    expect((await pairStatuses(world, ringUser)).sort()).toEqual(['CLAIMED', 'REVOKED']);
  });
});

describe('the masked account that Ring is told', () => {
  test.each<[email: string, masked: string]>([
    ['user@partner.example.com', 'u***r@partner.example.com'],
    ['Mixed.Case@Example.COM', 'm***e@example.com'],
    ['ab@example.com', 'a***b@example.com'],
    ['a@example.com', 'a***a@example.com'],
    ['first.last+ring@sub.example.co.uk', 'f***g@sub.example.co.uk'],
  ])('of %s is %s, in both calls', async (email, masked) => {
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser);

    await visitor.submit('/sign-up', { email, password: PASSWORD });

    expect(visitor.page.text).not.toContain('role="alert"');
    await untilLink(world, ringUser, 'COMPLETED');
    expect((await integrationCalls(world, ringUser)).map((call) => call.account_identifier)).toEqual([masked, masked]);
    expect(await world.ring.integrationOf(ringUser)).toMatchObject({ account_identifier: masked });
  });
});

describe('Ring that misbehaves once', () => {
  const status = (code: number) => ({ kind: 'status', status: code });
  const late = { kind: 'delay', ms: RING_TIMEOUT_MS + 400 };
  const nonsense = { kind: 'body', status: 200, contentType: 'text/html', body: '<html>oops</html>' };

  test.each<[what: string, faults: Fault[]]>([
    ['answers the POST with 500', [once('integration-post', status(500))]],
    ['answers the POST with 503 although it has acted', [once('integration-post', status(503), 'after')]],
    ['answers the POST with 429', [once('integration-post', { ...status(429), retryAfterSeconds: 1 })]],
    ['resets the connection of the POST', [once('integration-post', { kind: 'reset' })]],
    ['resets the connection of the POST after acting', [once('integration-post', { kind: 'reset' }, 'after')]],
    ['never answers the POST', [once('integration-post', { kind: 'silence' })]],
    ['never answers the POST after acting', [once('integration-post', { kind: 'silence' }, 'after')]],
    ['acts on the POST after we gave up', [once('integration-post', late)]],
    ['answers the POST with nonsense after acting', [once('integration-post', nonsense, 'after')]],
    ['answers the POST with a redirect', [once('integration-post', status(307))]],
    ['answers the PATCH with 502', [once('integration-patch', status(502))]],
    ['answers the PATCH with 503 although it has acted', [once('integration-patch', status(503), 'after')]],
    ['answers the PATCH with 429', [once('integration-patch', status(429))]],
    ['resets the connection of the PATCH', [once('integration-patch', { kind: 'reset' })]],
    ['resets the connection of the PATCH after acting', [once('integration-patch', { kind: 'reset' }, 'after')]],
    ['never answers the PATCH after acting', [once('integration-patch', { kind: 'silence' }, 'after')]],
    ['acts on the PATCH after we gave up', [once('integration-patch', late)]],
    ['answers the PATCH with nonsense after acting', [once('integration-patch', nonsense, 'after')]],
    [
      'loses its answers to both',
      [once('integration-post', { kind: 'reset' }, 'after'), once('integration-patch', { kind: 'reset' }, 'after')],
    ],
    [
      'fails the POST, and then loses its answer to the PATCH',
      [once('integration-post', status(500)), once('integration-patch', status(500), 'after')],
    ],
  ])('and %s: the link is completed, once', async (_what, faults) => {
    const { visitor, ringUser } = await linkWhile(faults);

    expect([200, 202]).toContain(visitor.page.status);
    await untilLinkSoon(ringUser, 'COMPLETED');
    await expectCompletedOnce(ringUser);
  });

  test('and acts on a POST while we send it again: the link is completed, once', async () => {
    const { ringUser } = await linkWhile([
      once('integration-post', { kind: 'hold' }),
      once('integration-post', { kind: 'hold' }),
    ]);
    await until('Ring has heard of it twice', async () => {
      if ((await integrationCalls(world, ringUser)).filter(({ method }) => method === 'POST').length > 1) return true;
      await passPauses();
      return false;
    });
    await world.ring.release();

    await until('the link is settled', async () => {
      const [link] = await linksOf(world, ringUser);
      if (link?.status !== 'CONFIRMING') return true;
      await passPauses();
      return false;
    });
    await expectCompletedOnce(ringUser);
  });

  test('and says when to come back: it is left alone until then', async () => {
    const { ringUser } = await linkWhile([
      once('integration-post', { kind: 'status', status: 429, retryAfterSeconds: 45 }),
    ]);

    const [job] = await until('another attempt waits', async () => {
      const jobs = await world.sql<{ seconds: number }>(
        `SELECT extract(epoch FROM run_at - now())::float AS seconds FROM graphile_worker.jobs
          WHERE locked_at IS NULL AND run_at > now()`,
      );
      return jobs.length > 0 && jobs;
    });

    expect(job?.seconds).toBeGreaterThan(30);
    await untilLinkSoon(ringUser, 'COMPLETED');
  });
});

describe('Ring that is away', () => {
  const away: Fault[] = [
    { endpoint: 'integration-post', fault: { kind: 'status', status: 503 } },
    { endpoint: 'integration-patch', fault: { kind: 'reset' } },
  ];

  test('leaves a link that is being finished, which finishes by itself when Ring is back', async () => {
    const { visitor, ringUser } = await linkWhile(away);
    expect(visitor.page.status).toBe(202);
    expect([BEING_FINISHED, NOT_ANSWERING]).toContain(visitor.heading);
    expect(visitor.page.text).toMatch(/What to do next[\s\S]*Check again/);
    const [, checkAgain = ''] = /href="([^"]+)">Check again/.exec(visitor.page.text) ?? [];
    await until('an attempt has failed', async () => (await linksOf(world, ringUser))[0]?.last_error !== null);

    await visitor.open(checkAgain);
    expect(visitor.page.status).toBe(202);
    expect(visitor.heading).toBe(NOT_ANSWERING);
    await visitor.open('/ring/home');
    expect(cards(visitor)).toEqual(['Being finished']);

    await world.ring.setFaults([]);
    await untilLinkSoon(ringUser, 'COMPLETED');
    await visitor.open(checkAgain);
    expect(visitor.page.status).toBe(200);
    expect(visitor.heading).toBe(LINKED);
    await visitor.open('/ring/home');
    expect(cards(visitor)).toEqual(['Linked']);
    await expectCompletedOnce(ringUser);
  });

  test('needs no visit: its pauses end by themselves', async () => {
    const { ringUser } = await linkWhile([once('integration-post', { kind: 'reset' })]);

    await untilLink(world, ringUser, 'COMPLETED');

    await expectCompletedOnce(ringUser);
  });

  test('for longer than a nonce lives: a tap on Sign In brings a fresh one, and the link is completed', async () => {
    const { visitor, ringUser } = await linkWhile(away);
    world.clock.advance(660);
    await arriving(world, ringUser, visitor);
    await visitor.submit('/ring/link');
    expect(visitor.page.status).toBe(202);

    await world.ring.setFaults([]);
    await untilLinkSoon(ringUser, 'COMPLETED');

    await expectCompletedOnce(ringUser);
  });

  test('for so long that the nonce is too old: one more tap in the Ring app is enough', async () => {
    const { visitor, ringUser } = await linkWhile([
      { endpoint: 'integration-post', fault: { kind: 'status', status: 503 } },
    ]);
    await until(
      'the link was tried again',
      async () => (await linksOf(world, ringUser))[0]?.confirmation_step === 'PROBING',
    );
    world.clock.advance(660);
    await world.ring.setFaults([]);
    await until(
      'the link waits for its user',
      async () => (await linksOf(world, ringUser))[0]?.last_error === 'nonce too old',
    );

    await visitor.open('/ring/link');
    expect(visitor.heading).toBe('One more tap in the Ring app');
    await visitor.open('/ring/home');
    expect(cards(visitor)).toEqual(['Waiting for you']);
    expect(await pairStatuses(world, ringUser)).toEqual(['CLAIMED']);

    await arriving(world, ringUser, visitor);
    await visitor.submit('/ring/link');

    expect(visitor.heading).toBe(LINKED);
    await expectCompletedOnce(ringUser);
  });

  test('lets its user sign out and come back to a finished link', async () => {
    const email = newEmail();
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser);
    await world.ring.setFaults(away);
    await visitor.submit('/sign-up', { email, password: PASSWORD });
    await visitor.open('/ring/home');
    await visitor.submit('/sign-out');
    await world.ring.setFaults([]);
    await untilLinkSoon(ringUser, 'COMPLETED');

    await visitor.submit('/sign-in', { email, password: PASSWORD });

    expect(cards(visitor)).toEqual(['Linked']);
  });
});

describe('Ring that refuses', () => {
  test.each<[what: string, fault: Fault]>([
    ['no integration (404) at the POST', once('integration-post', { kind: 'status', status: 404 })],
    ['no integration (404) at the PATCH', once('integration-patch', { kind: 'status', status: 404 })],
    ['a bad request (400) at the POST', once('integration-post', { kind: 'status', status: 400 })],
  ])('with %s: the page says so, and the tokens are erased', async (_what, fault) => {
    const { visitor, ringUser } = await linkWhile([fault]);
    await untilLinkSoon(ringUser, 'REFUSED');

    await visitor.open('/ring/link');

    expectRefused(visitor);
    await expectNothingLeft(ringUser);
  });

  test('the nonce (400 Invalid Nonce): the page says so at once, and the tokens are erased', async () => {
    // A nonce that is signed with the right key, but that Ring did not hand out.
    const ringUser = await installed(world);
    const time = `${world.clock.now().getTime() - 1}`;
    const visitor = await signedIn(world);
    await visitor.open(linkPath(nonceFor(time, ringUser.account_id), time));

    await visitor.submit('/ring/link');

    await untilLink(world, ringUser, 'REFUSED');
    if (visitor.page.status === 202) await visitor.open('/ring/link');
    expectRefused(visitor);
    await expectNothingLeft(ringUser);
    expect(await integrationCalls(world, ringUser)).toMatchObject([{ method: 'POST', status: 400 }]);
  });

  test('once: the user removes the app, adds it again, and is linked', async () => {
    const { visitor, ringUser } = await linkWhile([once('integration-post', { kind: 'status', status: 404 })]);
    await untilLink(world, ringUser, 'REFUSED');
    world.clock.advance(1);
    await installed(world, ringUser);

    await arriving(world, ringUser, visitor);
    await visitor.submit('/ring/link');

    await until('the link is completed', async () =>
      (await linksOf(world, ringUser)).some(({ status }) => status === 'COMPLETED'),
    );
    expect(await world.ring.integrationOf(ringUser)).toMatchObject({ status: 'completed' });
    expect(await pairStatuses(world, ringUser)).toEqual(['REVOKED', 'CLAIMED']);
  });

  function expectRefused(visitor: Visitor): void {
    expect(visitor.page.status).toBe(409);
    expect(visitor.heading).toBe(REFUSED);
    expect(visitor.page.text).toMatch(/What to do next[\s\S]*Remove this app, then add it again/);
  }

  async function expectNothingLeft(ringUser: RingUser): Promise<void> {
    expect(await linksOf(world, ringUser)).toMatchObject([
      { status: 'REFUSED', confirmation_step: null, request_ciphertext: null },
    ]);
    const pairs = await pairsOf(world, ringUser);
    expect(pairs).toMatchObject([{ status: 'REVOKED' }]);
    expect(pairs.every(isErased)).toBe(true);
  }
});
