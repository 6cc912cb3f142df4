import { afterEach, beforeEach, expect, test } from '@jest/globals';
import type { Rig } from '../rig.js';
import { control, exchangeCode, getMe, newCode, newTokens, recordedRequests, startRig } from '../rig.js';

interface User {
  id: string;
  account_id: string;
  attributes: object;
  devices: { id: string; name: string }[];
}

let rig: Rig;
beforeEach(async () => {
  rig = await startRig();
});
afterEach(() => rig.close());

test('there are Ring users from the start, each with two or three devices', async () => {
  const users = await control<User[]>(rig, 'GET', '/users');
  expect(users.map(({ id }) => id)).toEqual(['ada', 'zoe', 'sam', 'kim', 'nameless']);
  for (const { devices } of users) expect([2, 3]).toContain(devices.length);
});

test('a user can be added with everything, or with nothing', async () => {
  const full = { first_name: 'Ida', email: 'ida@example.com', account_id: 'ava1.ring.account.IDA' };
  const ida = await control<User>(rig, 'POST', '/users', { ...full, devices: [{ id: 'shed', name: 'Shed' }] });
  expect(ida).toMatchObject({
    account_id: 'ava1.ring.account.IDA',
    attributes: { first_name: 'Ida', email: 'ida@example.com' },
    devices: [{ id: 'shed', name: 'Shed' }],
  });
  const nobody = await control<User>(rig, 'POST', '/users', {});
  expect(nobody).toMatchObject({ account_id: expect.stringMatching(/^ava1\.ring\.account\./), attributes: {} });

  const { access_token } = await newTokens(rig, ida.id);
  expect(await (await getMe(rig, access_token)).json()).toMatchObject({ data: { id: 'ava1.ring.account.IDA' } });
});

test('two users cannot have one account', async () => {
  await expect(control(rig, 'POST', '/users', { account_id: 'ava1.ring.account.SIMULATED-ADA' })).rejects.toThrow(
    '409',
  );
});

test('an unknown user is 404, a link for a user without the app is 409, a misspelt field is 400', async () => {
  await expect(control(rig, 'POST', '/codes', { user_id: 'nobody' })).rejects.toThrow('404');
  await expect(control(rig, 'GET', '/link-url?user_id=ada')).rejects.toThrow('409');
  await expect(control(rig, 'POST', '/codes', { user: 'ada' })).rejects.toThrow('400');
  await expect(control(rig, 'POST', '/codes')).rejects.toThrow('400');
  await expect(control(rig, 'GET', '/nothing')).rejects.toThrow('404');
});

test('a reset clears users, codes, faults, settings and requests', async () => {
  await control(rig, 'POST', '/users', { first_name: 'Ida' });
  await control(rig, 'PUT', '/faults', [{ endpoint: 'users-me', fault: { kind: 'reset' }, when: 'before' }]);
  const code = await newCode(rig);
  await control(rig, 'DELETE', '');

  expect(await control<User[]>(rig, 'GET', '/users')).toHaveLength(5);
  expect(await control(rig, 'GET', '/integrations')).toEqual([]);
  expect(await recordedRequests(rig)).toEqual([]);
  expect((await getMe(rig, 'any')).status).toBe(403);
  expect((await exchangeCode(rig, code)).status).toBe(400);
});
