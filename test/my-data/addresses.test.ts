import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { newEmail, signedIn } from '../support/linking.js';
import { submitAccountForm } from '../support/my-data.js';
import { startWorld, type World } from '../support/world.js';

/** From one address, in an hour: as often as creating an account tells it. */
const SIGN_UPS = 20;

let world: World;
beforeAll(async () => {
  world = await startWorld({ environment: { RATE_LIMIT_SCALE: '1' } });
});
afterAll(() => world.stop());

test('the e-mail form tells no more often than the sign-up form whether somebody has an account', async () => {
  const known = newEmail();
  await signedIn(world, known);
  const curious = await signedIn(world);
  const statuses: number[] = [];
  for (let attempt = 0; attempt <= SIGN_UPS; attempt++) {
    await submitAccountForm(curious, 'email', { new: known });
    statuses.push(curious.page.status);
  }
  expect(statuses[0]).toBe(409);
  expect(statuses.at(-1)).toBe(429);
});
