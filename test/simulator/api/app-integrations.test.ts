import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Rig } from '../rig.js';
import {
  callIntegrations,
  callRing,
  control,
  errorTitle,
  getMe,
  newNonce,
  newTokens,
  recordedRequests,
  refresh,
  startRig,
} from '../rig.js';

const IDENTIFIER = 'a***h@example.com';

let rig: Rig;
beforeEach(async () => {
  rig = await startRig();
});
afterEach(() => rig.close());

async function statusOf(userId: string): Promise<string | undefined> {
  const integrations = await control<{ user_id: string; status: string }[]>(rig, 'GET', '/integrations');
  return integrations.find(({ user_id }) => user_id === userId)?.status;
}

describe('GET /v1/users/me', () => {
  test('tells the account and its attributes', async () => {
    const { access_token } = await newTokens(rig);
    const response = await getMe(rig, access_token);
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      data: {
        type: 'users',
        id: 'ava1.ring.account.SIMULATED-ADA',
        attributes: {
          first_name: 'Ada',
          last_name: 'Marsh',
          email: 'ada.marsh@example.com',
          phone_number: '+1 555 0100',
        },
      },
    });
  });

  test('leaves out attributes that the user does not have', async () => {
    const { access_token } = await newTokens(rig, 'nameless');
    expect(await (await getMe(rig, access_token)).json()).toEqual({
      data: { type: 'users', id: 'ava1.ring.account.SIMULATED-NAMELESS', attributes: {} },
    });
  });

  test('answers 403 without a token, and to a bad one of any kind, where others answer 401', async () => {
    expect((await fetch(`${rig.url}/v1/users/me`)).status).toBe(403);
    expect((await getMe(rig, 'sim-at-invented')).status).toBe(403);
    const { access_token, refresh_token } = await newTokens(rig);
    expect((await getMe(rig, refresh_token)).status).toBe(403);

    rig.clock.now += 14_399_999;
    expect((await getMe(rig, access_token)).status).toBe(200);
    rig.clock.now += 1;
    expect((await getMe(rig, access_token)).status).toBe(403);

    const younger = await newTokens(rig);
    await control(rig, 'DELETE', '/integrations?user_id=ada');
    expect((await getMe(rig, younger.access_token)).status).toBe(403);
    expect((await refresh(rig, younger.refresh_token)).status).toBe(400);
  });
});

describe('app-integrations', () => {
  test('goes from pending over awaiting to completed', async () => {
    const { access_token } = await newTokens(rig);
    expect(await statusOf('ada')).toBe('pending');

    const nonce = await newNonce(rig);
    const confirmed = await callIntegrations(rig, 'POST', access_token, { account_identifier: IDENTIFIER, nonce });
    expect(confirmed.status).toBe(200);
    expect(await confirmed.json()).toEqual({ status: 'awaiting' });
    expect(await statusOf('ada')).toBe('awaiting');

    const completion = { account_identifier: IDENTIFIER, status: 'completed' };
    const completed = await callIntegrations(rig, 'PATCH', access_token, completion);
    expect(completed.status).toBe(200);
    expect(await completed.json()).toEqual({
      account_identifier: IDENTIFIER,
      status: 'completed',
      updated_at: '2026-09-21T14:13:20.000Z',
    });
    expect(await statusOf('ada')).toBe('completed');
  });

  test('answers in the shape of JSON:API when told so', async () => {
    await control(rig, 'PUT', '/settings', { integrationBody: 'json-api' });
    const { access_token } = await newTokens(rig);
    const body = { account_identifier: IDENTIFIER, nonce: await newNonce(rig) };
    expect(await (await callIntegrations(rig, 'POST', access_token, body)).json()).toEqual({
      data: { attributes: { status: 'awaiting' } },
    });
    const completed = await callIntegrations(rig, 'PATCH', access_token, { status: 'completed' });
    expect(await completed.json()).toMatchObject({ data: { attributes: { status: 'completed' } } });
  });

  test('answers 204 without a body when told so', async () => {
    await control(rig, 'PUT', '/settings', { integrationBody: 'none' });
    const { access_token } = await newTokens(rig);
    const confirmed = await callIntegrations(rig, 'POST', access_token, { nonce: await newNonce(rig) });
    const completed = await callIntegrations(rig, 'PATCH', access_token, { status: 'completed' });
    for (const response of [confirmed, completed]) {
      expect([response.status, await response.text()]).toEqual([204, '']);
    }
    expect(await statusOf('ada')).toBe('completed');
  });

  test('needs no account identifier, neither to be announced nor to be completed', async () => {
    const { access_token } = await newTokens(rig);
    const confirmed = await callIntegrations(rig, 'POST', access_token, { nonce: await newNonce(rig) });
    expect(await confirmed.json()).toEqual({ status: 'awaiting' });
    const completed = await callIntegrations(rig, 'PATCH', access_token, { status: 'completed' });
    expect(completed.status).toBe(200);
    expect(await completed.json()).toMatchObject({ account_identifier: null, status: 'completed' });
  });

  test('is not removed by the app: DELETE is 403', async () => {
    const { access_token } = await newTokens(rig);
    const path = '/v1/accounts/me/app-integrations';
    const response = await callRing(rig, 'DELETE', path, access_token);
    expect([response.status, await errorTitle(response)]).toEqual([403, 'Out of Scope Access']);
    expect((await callRing(rig, 'DELETE', path, 'bad')).status).toBe(401);
    expect(await statusOf('ada')).toBe('pending');
  });

  test('accepts every fresh nonce of the account, not only the newest', async () => {
    const { access_token } = await newTokens(rig);
    const older = await newNonce(rig);
    rig.clock.now += 1_000;
    await newNonce(rig);
    const body = { account_identifier: IDENTIFIER, nonce: older };
    expect((await callIntegrations(rig, 'POST', access_token, body)).status).toBe(200);
  });

  test.each([
    [600_000, 200],
    [600_001, 400],
  ])('a nonce that is %i ms old answers %i', async (age, status) => {
    const { access_token } = await newTokens(rig);
    const nonce = await newNonce(rig);
    rig.clock.now += age;
    const response = await callIntegrations(rig, 'POST', access_token, { account_identifier: IDENTIFIER, nonce });
    expect(response.status).toBe(status);
  });

  test("refuses an invented nonce and another account's nonce", async () => {
    const { access_token } = await newTokens(rig);
    await newTokens(rig, 'zoe');
    for (const nonce of ['x'.repeat(43), await newNonce(rig, 'zoe')]) {
      const response = await callIntegrations(rig, 'POST', access_token, { account_identifier: IDENTIFIER, nonce });
      expect(response.status).toBe(400);
      expect(await errorTitle(response)).toBe('Invalid Nonce');
    }
    expect(await statusOf('ada')).toBe('pending');
  });

  test('refuses a second POST, with the same nonce or a fresh one', async () => {
    const { access_token } = await newTokens(rig);
    const nonce = await newNonce(rig);
    await callIntegrations(rig, 'POST', access_token, { account_identifier: IDENTIFIER, nonce });
    rig.clock.now += 1_000;
    for (const again of [nonce, await newNonce(rig)]) {
      const body = { account_identifier: IDENTIFIER, nonce: again };
      expect(await errorTitle(await callIntegrations(rig, 'POST', access_token, body))).toBe('Invalid Nonce');
    }
    expect(await statusOf('ada')).toBe('awaiting');
  });

  test.each([
    ['an empty body', undefined],
    ['no nonce', { account_identifier: IDENTIFIER }],
    ['an empty nonce', { account_identifier: IDENTIFIER, nonce: '' }],
    ['an empty account identifier', { account_identifier: '', nonce: 'x' }],
    ['no object', 'text'],
  ])('refuses a POST with %s', async (_what, body) => {
    const { access_token } = await newTokens(rig);
    const response = await callIntegrations(rig, 'POST', access_token, body);
    expect(response.status).toBe(400);
    expect(await errorTitle(response)).toBe('Missing Required Fields');
  });

  test('refuses to complete a pending or completed integration, and any other status', async () => {
    const { access_token } = await newTokens(rig);
    const complete = (status: string): Promise<Response> =>
      callIntegrations(rig, 'PATCH', access_token, { account_identifier: IDENTIFIER, status });
    expect(await errorTitle(await complete('completed'))).toBe('Invalid Status Transition');

    const nonce = await newNonce(rig);
    await callIntegrations(rig, 'POST', access_token, { account_identifier: IDENTIFIER, nonce });
    for (const status of ['pending', 'awaiting']) {
      expect(await errorTitle(await complete(status))).toBe('Invalid Status Transition');
    }
    expect((await complete('completed')).status).toBe(200);
    for (const status of ['completed', 'awaiting']) {
      expect(await errorTitle(await complete(status))).toBe('Invalid Status Transition');
    }
  });

  test('takes a new account identifier by itself once the link is announced, and changes nothing else', async () => {
    const { access_token } = await newTokens(rig);
    const rename = (account_identifier: string) => callIntegrations(rig, 'PATCH', access_token, { account_identifier });
    const integrationOfAda = async () => (await control<object[]>(rig, 'GET', '/integrations'))[0];
    expect(await errorTitle(await rename('b***b@example.com'))).toBe('Invalid Status Transition');

    const nonce = await newNonce(rig);
    await callIntegrations(rig, 'POST', access_token, { account_identifier: IDENTIFIER, nonce });
    expect((await rename('b***b@example.com')).status).toBe(200);
    expect(await integrationOfAda()).toMatchObject({ status: 'awaiting', account_identifier: 'b***b@example.com' });

    await callIntegrations(rig, 'PATCH', access_token, { account_identifier: IDENTIFIER, status: 'completed' });
    expect((await rename('c***c@example.com')).status).toBe(200);
    expect(await integrationOfAda()).toMatchObject({ status: 'completed', account_identifier: 'c***c@example.com' });
  });

  test.each([
    ['an empty body', undefined],
    ['neither status nor identifier', {}],
    ['an empty account identifier', { account_identifier: '' }],
    ['no object', 'text'],
  ])('refuses a PATCH with %s', async (_what, body) => {
    const { access_token } = await newTokens(rig);
    const response = await callIntegrations(rig, 'PATCH', access_token, body);
    expect([response.status, await errorTitle(response)]).toEqual([400, 'Missing Required Fields']);
  });

  test('answers 401 to a bad token and 404 to a good one without integration', async () => {
    const { access_token, refresh_token } = await newTokens(rig);
    for (const bad of ['invented', refresh_token]) {
      const response = await callIntegrations(rig, 'POST', bad, { account_identifier: IDENTIFIER, nonce: 'x' });
      expect([response.status, await errorTitle(response)]).toEqual([401, 'Invalid Client']);
    }
    await control(rig, 'DELETE', '/integrations?user_id=ada&tokens=good');
    const response = await callIntegrations(rig, 'POST', access_token, { account_identifier: IDENTIFIER, nonce: 'x' });
    expect(response.status).toBe(404);
  });

  test('is recorded with what was asked, and without the nonce', async () => {
    const { access_token } = await newTokens(rig);
    const nonce = await newNonce(rig);
    await callIntegrations(rig, 'POST', access_token, { account_identifier: IDENTIFIER, nonce });
    await callIntegrations(rig, 'PATCH', access_token, { account_identifier: IDENTIFIER, status: 'completed' });

    const requests = await recordedRequests(rig);
    expect(requests.slice(1)).toEqual([
      expect.objectContaining({ method: 'POST', account_identifier: IDENTIFIER, status: 200, at: rig.clock.now }),
      expect.objectContaining({ method: 'PATCH', requested_status: 'completed', status: 200 }),
    ]);
    expect(JSON.stringify([requests, rig.lines])).not.toContain(nonce);
    expect(JSON.stringify([requests, rig.lines])).not.toContain(access_token);
  });
});

test('a call to anything else of Ring answers 404 and is recorded', async () => {
  const { access_token } = await newTokens(rig);
  const response = await fetch(`${rig.url}/v1/nothing`, { headers: { Authorization: `Bearer ${access_token}` } });
  expect(response.status).toBe(404);
  expect((await recordedRequests(rig)).at(-1)).toMatchObject({
    path: '/v1/nothing',
    status: 404,
    account_id: 'ava1.ring.account.SIMULATED-ADA',
  });
});
