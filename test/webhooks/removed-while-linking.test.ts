import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { Visitor } from '../support/clients/visitor.js';
import { untilIdle, untilProcessed } from '../support/features/inbox.js';
import { arriving, installed, isErased, linksOf, once, pairsOf, signedIn } from '../support/features/linking.js';
import { scaled } from '../support/waiting/limits.js';
import { until } from '../support/waiting/until.js';
import type { Fault, RingUser } from '../support/worlds/ring.js';
import { startWorld, type World } from '../support/worlds/world.js';

/**
 * The user removes the app in the Ring app while we are still linking it. The link has ended, in whichever order the
 * two arrive.
 */

const HELD = { kind: 'hold' };

let world: World;
beforeAll(async () => {
  world = await startWorld({ patienceMs: scaled(100) });
});
afterEach(() => world.ring.setFaults([]));
afterAll(() => world.stop());

async function expectEnded(ringUser: RingUser): Promise<void> {
  await untilProcessed(world, ringUser);
  await until('Ring is not asked any more', async () => {
    const jobs = await world.sql(`SELECT 1 FROM graphile_worker.jobs WHERE task_identifier = 'confirm_link'`);
    return jobs.length === 0;
  });
  expect(await linksOf(world, ringUser)).toMatchObject([
    { status: 'REMOVED', confirmation_step: null, request_ciphertext: null },
  ]);
  const [pair] = await pairsOf(world, ringUser);
  expect(pair?.status).toBe('REVOKED');
  expect(isErased(pair)).toBe(true);
  const archived = await world.sql('SELECT kind FROM audit_archive WHERE account_id = $1', [ringUser.account_id]);
  expect(archived).toEqual([{ kind: 'LINK_REMOVED' }]);
  expect(await world.sql('SELECT 1 FROM devices WHERE account_id = $1', [ringUser.account_id])).toEqual([]);
}

/** A click on Link that Ring answers late, and a removal in the meantime. */
async function removeWhile(fault: Fault, step: string): Promise<{ visitor: Visitor; ringUser: RingUser }> {
  const ringUser = await installed(world);
  const visitor = await arriving(world, ringUser, await signedIn(world));
  await world.ring.setFaults([fault]);
  await visitor.submit('/ring/link');
  await until(`the link is at ${step}`, async () => (await linksOf(world, ringUser))[0]?.confirmation_step === step);
  world.clock.advance(1);
  const { attempts } = await world.ring.sendEvent({ user_id: ringUser.id, type: 'app_integration_removed' });
  expect(attempts).toMatchObject([{ status: 200 }]);
  return { visitor, ringUser };
}

test.each([
  ['before Ring has acted on the POST', once('integration-post', HELD), 'POSTING'],
  ['after Ring has acted on the POST', once('integration-post', HELD, 'after'), 'POSTING'],
  ['before Ring has acted on the PATCH', once('integration-patch', HELD), 'PATCHING'],
  ['after Ring has acted on the PATCH', once('integration-patch', HELD, 'after'), 'PATCHING'],
  ['while Ring is away', once('integration-post', { kind: 'status', status: 503, retryAfterSeconds: 2 }), 'POSTING'],
])('%s: the link is removed, and stays so when the answer comes', async (_when, fault, step) => {
  const { visitor, ringUser } = await removeWhile(fault, step);

  await until('the link is removed', async () => (await linksOf(world, ringUser))[0]?.status === 'REMOVED');
  await world.ring.release();
  await expectEnded(ringUser);

  await visitor.open('/ring/home');
  expect(visitor.page.text).toContain('Ended');
});

test('at the moment of the claim: it is removed or was never made', async () => {
  for (let round = 0; round < 6; round++) {
    const ringUser = await installed(world);
    const visitor = await arriving(world, ringUser, await signedIn(world));
    world.clock.advance(1);

    await Promise.all([
      visitor.submit('/ring/link'),
      world.ring.sendEvent({ user_id: ringUser.id, type: 'app_integration_removed' }),
    ]);
    await untilProcessed(world, ringUser);
    await untilIdle(world);

    const links = await linksOf(world, ringUser);
    expect(links.map(({ status }) => status).filter((status) => status !== 'REMOVED')).toEqual([]);
    expect((await pairsOf(world, ringUser)).every(isErased)).toBe(true);
  }
});

test('before we know the account of the token pair: it never gets into the pool', async () => {
  const ringUser = await world.ring.createUser();
  await world.ring.setFaults([once('users-me', HELD, 'after')]);
  await world.ring.install(ringUser);
  await until('Ring is asked whose it is', async () =>
    (await world.ring.requests()).some(
      ({ path, account_id }) => path === '/v1/users/me' && account_id === ringUser.account_id,
    ),
  );

  await world.ring.sendEvent({ user_id: ringUser.id, type: 'app_integration_removed' });
  await world.ring.release();
  await until('the pair is identified', async () => (await pairsOf(world, ringUser)).length === 1);

  const [pair] = await pairsOf(world, ringUser);
  expect(pair?.status).toBe('REVOKED');
  expect(isErased(pair)).toBe(true);
  await untilProcessed(world, ringUser);
});
