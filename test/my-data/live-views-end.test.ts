import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { untilIdle } from '../support/inbox.js';
import { newEmail } from '../support/linking.js';
import { newResident, signIn, submitAccountForm } from '../support/my-data.js';
import { startWorld, type World } from '../support/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

test.each([
  { form: 'password', changed: () => 'an entirely different one' },
  { form: 'email', changed: () => newEmail() },
] as const)('with a new $form nobody goes on watching in a session that has ended', async ({ form, changed }) => {
  const { ringUser, email } = await newResident(world);
  const elsewhere = await signIn(world, email);

  await submitAccountForm(elsewhere, form, { new: changed() });

  await untilIdle(world);
  const views = (await world.ring.liveViews()).filter(({ account_id }) => account_id === ringUser.account_id);
  expect(views.map(({ state }) => state)).toEqual(['closed']);
});
