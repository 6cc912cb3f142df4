import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { Rig } from '../rig.js';
import { control, getMe, newTokens, startRig } from '../rig.js';

let rig: Rig;
beforeEach(async () => {
  rig = await startRig();
});
afterEach(() => rig.close());

test('every answer tells how many of 100 requests of this second are left, over all endpoints', async () => {
  const { access_token } = await newTokens(rig);
  const left = (await getMe(rig, access_token)).headers;
  expect(left.get('x-ratelimit-limit')).toBe('100');
  // The exchange of the code was the first.
  expect(left.get('x-ratelimit-remaining')).toBe('98');

  rig.clock.now += 1_000;
  expect((await getMe(rig, 'a-bad-token')).headers.get('x-ratelimit-remaining')).toBe('99');
});

test('where the limit is enforced, the 101st request of a second is refused until the next', async () => {
  await control(rig, 'PUT', '/settings', { requestLimit: 'enforced' });
  const { access_token } = await newTokens(rig);
  rig.clock.now += 1_000;
  const answers = await Promise.all(Array.from({ length: 101 }, () => getMe(rig, access_token)));

  const refused = answers.filter(({ status }) => status !== 200);
  expect(refused.map(({ status, headers }) => [status, headers.get('retry-after')])).toEqual([[429, '1']]);

  rig.clock.now += 1_000;
  expect((await getMe(rig, access_token)).status).toBe(200);
});
