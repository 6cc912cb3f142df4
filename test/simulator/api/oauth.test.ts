import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Rig, TokenBody } from '../rig.js';
import {
  CLIENT,
  control,
  exchangeCode,
  getMe,
  newCode,
  newTokens,
  oauthError,
  recordedRequests,
  refresh,
  requestToken,
  startRig,
} from '../rig.js';

let rig: Rig;
beforeEach(async () => {
  rig = await startRig();
});
afterEach(() => rig.close());

describe('exchanging an authorization code', () => {
  test('answers a bearer token pair for four hours, not to be cached', async () => {
    const response = await exchangeCode(rig, await newCode(rig));
    expect(response.status).toBe(200);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(await response.json()).toEqual({
      access_token: expect.stringMatching(/^sim-at-[\w-]{43}$/),
      refresh_token: expect.stringMatching(/^sim-rt-[\w-]{43}$/),
      scope: expect.any(String),
      expires_in: 14_400,
      token_type: 'Bearer',
    });
  });

  test('works once', async () => {
    const code = await newCode(rig);
    await exchangeCode(rig, code);
    const second = await exchangeCode(rig, code);
    expect(second.status).toBe(400);
    expect(await oauthError(second)).toBe('invalid_grant');
  });

  test('works once even when two requests race', async () => {
    const code = await newCode(rig);
    const statuses = (await Promise.all([exchangeCode(rig, code), exchangeCode(rig, code)])).map(
      ({ status }) => status,
    );
    expect(statuses.sort()).toEqual([200, 400]);
  });

  test.each([
    [59_999, 200],
    [60_000, 400],
  ])('%i ms after the code was made answers %i', async (age, status) => {
    const code = await newCode(rig);
    rig.clock.now += age;
    expect((await exchangeCode(rig, code)).status).toBe(status);
  });

  test('ends with the installation: adding the app again kills the older code', async () => {
    const older = await newCode(rig);
    await newCode(rig);
    expect(await oauthError(await exchangeCode(rig, older))).toBe('invalid_grant');
  });
});

describe('refreshing', () => {
  test('rotates: the new refresh token works, the old one is dead', async () => {
    const first = await newTokens(rig);
    const second = (await (await refresh(rig, first.refresh_token)).json()) as TokenBody;
    expect(second.refresh_token).not.toBe(first.refresh_token);
    expect((await getMe(rig, second.access_token)).status).toBe(200);

    expect(await oauthError(await refresh(rig, first.refresh_token))).toBe('invalid_grant');
    expect((await refresh(rig, second.refresh_token)).status).toBe(200);
  });

  test('may be answered without a refresh token; then the old one stays good', async () => {
    await control(rig, 'PUT', '/settings', { refreshAnswer: 'without-refresh-token' });
    const { refresh_token } = await newTokens(rig);
    for (let times = 0; times < 2; times += 1) {
      const answer = (await (await refresh(rig, refresh_token)).json()) as Partial<TokenBody>;
      expect(answer).not.toHaveProperty('refresh_token');
      expect(answer).toMatchObject({ expires_in: 14_400, token_type: 'Bearer' });
      expect((await getMe(rig, answer.access_token ?? '')).status).toBe(200);
    }
    await control(rig, 'PUT', '/settings', { refreshAnswer: 'new-pair' });
    expect(await (await refresh(rig, refresh_token)).json()).toHaveProperty('refresh_token');
    await control(rig, 'PUT', '/settings', { refreshAnswer: 'without-refresh-token' });
    expect(await oauthError(await refresh(rig, refresh_token))).toBe('invalid_grant');
  });

  test('is refused 30 days after the token was issued', async () => {
    const { refresh_token } = await newTokens(rig);
    rig.clock.now += 30 * 24 * 60 * 60 * 1_000;
    expect(await oauthError(await refresh(rig, refresh_token))).toBe('invalid_grant');
  });

  test('with the refresh token in an Authorization header answers 401, and leaves the token alive', async () => {
    const { refresh_token } = await newTokens(rig);
    const response = await fetch(`${rig.url}/oauth/token`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${refresh_token}` },
      body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token, ...CLIENT }),
    });
    expect(response.status).toBe(401);
    expect((await refresh(rig, refresh_token)).status).toBe(200);
  });
});

describe('a token request that is wrong', () => {
  test.each([
    [
      'a wrong secret',
      { grant_type: 'authorization_code', code: 'x', ...CLIENT, client_secret: 'no' },
      401,
      'invalid_client',
    ],
    [
      'a wrong client',
      { grant_type: 'authorization_code', code: 'x', ...CLIENT, client_id: 'no' },
      401,
      'invalid_client',
    ],
    ['no client', { grant_type: 'authorization_code', code: 'x' }, 401, 'invalid_client'],
    ['no grant type', { code: 'x', ...CLIENT }, 400, 'invalid_request'],
    ['another grant type', { grant_type: 'password', ...CLIENT }, 400, 'unsupported_grant_type'],
    ['no code', { grant_type: 'authorization_code', ...CLIENT }, 400, 'invalid_request'],
    ['an empty code', { grant_type: 'authorization_code', code: '', ...CLIENT }, 400, 'invalid_request'],
    ['an unknown code', { grant_type: 'authorization_code', code: 'x', ...CLIENT }, 400, 'invalid_grant'],
    ['no refresh token', { grant_type: 'refresh_token', ...CLIENT }, 400, 'invalid_request'],
    ['an unknown refresh token', { grant_type: 'refresh_token', refresh_token: 'x', ...CLIENT }, 400, 'invalid_grant'],
  ])('with %s', async (_what, fields, status, error) => {
    const response = await requestToken(rig, fields);
    expect(response.status).toBe(status);
    expect(await oauthError(response)).toBe(error);
  });

  test('with a wrong secret does not use up the code', async () => {
    const code = await newCode(rig);
    await requestToken(rig, { grant_type: 'authorization_code', code, ...CLIENT, client_secret: 'no' });
    expect((await exchangeCode(rig, code)).status).toBe(200);
  });

  test('as JSON', async () => {
    const response = await fetch(`${rig.url}/oauth/token`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ grant_type: 'authorization_code', code: await newCode(rig), ...CLIENT }),
    });
    expect(response.status).toBe(400);
    expect(await oauthError(response)).toBe('invalid_request');
  });

  test('with a field twice', async () => {
    const body = new URLSearchParams({ grant_type: 'authorization_code', code: await newCode(rig), ...CLIENT });
    body.append('code', 'another');
    const response = await fetch(`${rig.url}/oauth/token`, { method: 'POST', body });
    expect(await oauthError(response)).toBe('invalid_request');
  });
});

test('exchanges can be counted afterwards, and neither record nor log has a secret', async () => {
  const code = await newCode(rig);
  const { access_token, refresh_token } = (await (await exchangeCode(rig, code)).json()) as TokenBody;
  await exchangeCode(rig, code);
  await requestToken(rig, { grant_type: refresh_token, refresh_token, ...CLIENT });

  const requests = await recordedRequests(rig);
  expect(requests).toEqual([
    expect.objectContaining({ path: '/oauth/token', grant_type: 'authorization_code', status: 200, fault: null }),
    expect.objectContaining({ path: '/oauth/token', grant_type: 'authorization_code', status: 400 }),
    expect.objectContaining({ path: '/oauth/token', status: 400 }),
  ]);
  expect(requests.map(({ account_id }) => account_id)).toEqual(Array(3).fill('ava1.ring.account.SIMULATED-ADA'));
  const told = JSON.stringify([requests, rig.lines]);
  for (const secret of [code, access_token, refresh_token, CLIENT.client_secret]) expect(told).not.toContain(secret);
});
