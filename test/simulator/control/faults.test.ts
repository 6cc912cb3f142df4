import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { until } from '../../support/waiting/until.js';
import type { Rig } from '../rig.js';
import {
  callIntegrations,
  control,
  errorTitle,
  exchangeCode,
  getMe,
  newCode,
  newNonce,
  newTokens,
  recordedRequests,
  startRig,
} from '../rig.js';

let rig: Rig;
beforeEach(async () => {
  rig = await startRig();
});
afterEach(() => rig.close());

const setFaults = (...faults: object[]): Promise<void> => control(rig, 'PUT', '/faults', faults);

describe('a fault before the effect', () => {
  test('leaves the code unused, so that a second try succeeds', async () => {
    await setFaults({ endpoint: 'token', fault: { kind: 'status', status: 503 }, when: 'before', times: 1 });
    const code = await newCode(rig);
    expect((await exchangeCode(rig, code)).status).toBe(503);
    expect((await exchangeCode(rig, code)).status).toBe(200);
    expect(await recordedRequests(rig)).toEqual([
      expect.objectContaining({ status: 503, effect_status: null, fault: 'status' }),
      expect.objectContaining({ status: 200, effect_status: 200, fault: null }),
    ]);
  });

  test('of the kind reset breaks the connection', async () => {
    await setFaults({ endpoint: 'token', fault: { kind: 'reset' }, when: 'before', times: 1 });
    const code = await newCode(rig);
    await expect(exchangeCode(rig, code)).rejects.toThrow('fetch failed');
    expect((await exchangeCode(rig, code)).status).toBe(200);
  });
});

describe('a fault after the effect', () => {
  test('of the kind reset: the code is used, and the caller knows nothing', async () => {
    await setFaults({ endpoint: 'token', fault: { kind: 'reset' }, when: 'after', times: 1 });
    const code = await newCode(rig);
    await expect(exchangeCode(rig, code)).rejects.toThrow('fetch failed');
    expect((await exchangeCode(rig, code)).status).toBe(400);
    expect((await recordedRequests(rig))[0]).toMatchObject({ status: null, effect_status: 200, fault: 'reset' });
  });

  test('of the kind status: the integration is awaiting although the answer was 500', async () => {
    await setFaults({ endpoint: 'integration-post', fault: { kind: 'status', status: 500 }, when: 'after', times: 1 });
    const { access_token } = await newTokens(rig);
    const body = { account_identifier: 'a***h@example.com', nonce: await newNonce(rig) };
    expect((await callIntegrations(rig, 'POST', access_token, body)).status).toBe(500);
    expect(await errorTitle(await callIntegrations(rig, 'POST', access_token, body))).toBe('Invalid Nonce');
    expect(await control(rig, 'GET', '/integrations')).toEqual([
      expect.objectContaining({ user_id: 'ada', status: 'awaiting', account_identifier: 'a***h@example.com' }),
    ]);
  });

  test('of the kind silence: no answer, and the effect is there', async () => {
    await setFaults({ endpoint: 'token', fault: { kind: 'silence' }, when: 'after', times: 1 });
    const code = await newCode(rig);
    const silent = fetch(`${rig.url}/oauth/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        code,
        client_id: 'client-for-tests',
        client_secret: 'client-secret-for-tests',
      }),
      signal: AbortSignal.timeout(200),
    });
    await expect(silent).rejects.toThrow('aborted due to timeout');
    expect((await exchangeCode(rig, code)).status).toBe(400);
  });
});

test('a delay is as long as asked, and the answer is the right one', async () => {
  await setFaults({ endpoint: 'users-me', fault: { kind: 'delay', ms: 150 }, when: 'before', times: 1 });
  const { access_token } = await newTokens(rig);
  const startedAt = performance.now();
  expect((await getMe(rig, access_token)).status).toBe(200);
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(145);
});

test('a held request gets the right answer when the list of faults is replaced, and not before', async () => {
  const { access_token } = await newTokens(rig);
  await setFaults({ endpoint: 'users-me', fault: { kind: 'hold' }, when: 'before', times: 1 });
  let isAnswered = false;
  const held = getMe(rig, access_token).finally(() => (isAnswered = true));
  await until('Ring is asked', async () => (await recordedRequests(rig)).some(({ path }) => path === '/v1/users/me'));
  expect((await getMe(rig, access_token)).status).toBe(200);
  expect(isAnswered).toBe(false);

  await setFaults();

  expect((await held).status).toBe(200);
});

test('a status fault can carry Retry-After and keeps the JSON:API error shape', async () => {
  await setFaults({
    endpoint: 'users-me',
    fault: { kind: 'status', status: 429, retryAfterSeconds: 7 },
    when: 'before',
  });
  const { access_token } = await newTokens(rig);
  const response = await getMe(rig, access_token);
  expect(response.status).toBe(429);
  expect(response.headers.get('retry-after')).toBe('7');
  expect(await errorTitle(response)).toBe('Simulated Fault');
});

test('a body fault replaces the answer whole', async () => {
  const fault = { kind: 'body', status: 200, contentType: 'text/html', body: '<h1>Maintenance</h1>' };
  await setFaults({ endpoint: 'users-me', fault, when: 'before' });
  const response = await getMe(rig, 'any');
  expect(response.headers.get('content-type')).toBe('text/html');
  expect(await response.text()).toBe('<h1>Maintenance</h1>');
});

test('faults of one endpoint happen in the order of the list; without times the last one stays', async () => {
  await setFaults(
    { endpoint: 'users-me', fault: { kind: 'status', status: 500 }, when: 'before', times: 2 },
    { endpoint: 'users-me', fault: { kind: 'status', status: 502 }, when: 'before' },
  );
  const statuses: number[] = [];
  for (let request = 0; request < 5; request += 1) statuses.push((await getMe(rig, 'any')).status);
  expect(statuses).toEqual([500, 500, 502, 502, 502]);

  await setFaults();
  expect((await getMe(rig, 'any')).status).toBe(403);
});

test('closing and resetting end silent and delayed connections at once', async () => {
  await setFaults(
    { endpoint: 'users-me', fault: { kind: 'silence' }, when: 'before' },
    { endpoint: 'token', fault: { kind: 'delay', ms: 600_000 }, when: 'before' },
  );
  const untilRecorded = async (count: number): Promise<void> => {
    while ((await recordedRequests(rig)).length < count) await new Promise(setImmediate);
  };
  const ask = (): Promise<unknown> => Promise.allSettled([getMe(rig, 'any'), exchangeCode(rig, 'any')]);

  const cutByReset = ask();
  await untilRecorded(2);
  await control(rig, 'DELETE', '');
  expect(await cutByReset).toMatchObject([{ status: 'rejected' }, { status: 'rejected' }]);
  expect((await getMe(rig, 'any')).status).toBe(403);

  await setFaults({ endpoint: 'users-me', fault: { kind: 'silence' }, when: 'before' });
  const cutByClose = getMe(rig, 'any').catch(() => 'cut');
  await untilRecorded(2);
  const own = await startRig();
  const spare = rig;
  rig = own;
  await spare.close();
  expect(await cutByClose).toBe('cut');
});

test.each([
  ['an unknown endpoint', { endpoint: 'tokens', fault: { kind: 'reset' }, when: 'before' }],
  ['an unknown kind', { endpoint: 'token', fault: { kind: 'explode' }, when: 'before' }],
  ['a misspelt field', { endpoint: 'token', fault: { kind: 'reset' }, when: 'before', time: 1 }],
  ['silence for the callback', { endpoint: 'callback', fault: { kind: 'silence' } }],
])('the list is refused when it has %s', async (_what, fault) => {
  await expect(setFaults(fault)).rejects.toThrow('400');
});
