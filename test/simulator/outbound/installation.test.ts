import { createHmac } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { linkNonce } from '../../../src/simulator/outbound/signing.js';
import { scaled } from '../../support/waiting/limits.js';
import { until } from '../../support/waiting/until.js';
import type { Rig } from '../rig.js';
import { control, exchangeCode, HMAC_KEY, newCode, startRig } from '../rig.js';

interface Installed {
  account_id: string;
  callback: { status: number | null; body: string } | null;
  repeated?: { status: number | null; body: string };
}

let rig: Rig;
beforeEach(async () => {
  rig = await startRig();
});
afterEach(() => rig.close());

const install = (body: object): Promise<Installed> => control<Installed>(rig, 'POST', '/installs', body);

/** The code in a callback that the app received, at any of its places. */
function receivedCode(index: number): string {
  const callback = rig.app.received[index];
  return /sim-code-[\w-]+/.exec(`${callback?.url ?? ''} ${callback?.body ?? ''}`)?.[0] ?? 'none';
}

describe('the nonce', () => {
  test('is HMAC-SHA256 over time and account, as URL-safe base64 without padding', () => {
    const expected = createHmac('sha256', 'key')
      .update('1790000000000:ava1.ring.account.X')
      .digest('base64')
      .replaceAll('+', '-')
      .replaceAll('/', '_')
      .replace(/=+$/, '');
    expect(linkNonce('key', 1_790_000_000_000, 'ava1.ring.account.X')).toBe(expected);
    expect(expected).toHaveLength(43);
  });

  test('of a link URL belongs to the account and to the time in it', async () => {
    const code = await newCode(rig);
    const link = await control<{ url: string; nonce: string; time: number }>(rig, 'GET', '/link-url?user_id=ada');
    expect(link.time).toBe(rig.clock.now);
    expect(link.nonce).toBe(
      createHmac('sha256', HMAC_KEY).update(`${link.time}:ava1.ring.account.SIMULATED-ADA`).digest('base64url'),
    );
    expect(link.url).toBe(`https://app.example.com/ring/link?nonce=${link.nonce}&time=${link.time}`);
    expect((await exchangeCode(rig, code)).status).toBe(200);
  });
});

describe('the callback', () => {
  test('carries the code in a form body unless told otherwise', async () => {
    const { callback } = await install({ user_id: 'ada' });
    expect(callback).toEqual({ status: 200, body: '<b>answer 1</b>' });
    expect(rig.app.received).toEqual([
      {
        method: 'POST',
        url: '/ring/token',
        contentType: 'application/x-www-form-urlencoded;charset=UTF-8',
        body: `code=${receivedCode(0)}`,
      },
    ]);
    expect((await exchangeCode(rig, receivedCode(0))).status).toBe(200);
  });

  test('can carry it in a JSON body', async () => {
    await install({ user_id: 'ada', send_as: 'json' });
    expect(rig.app.received).toEqual([
      { method: 'POST', url: '/ring/token', contentType: 'application/json', body: `{"code":"${receivedCode(0)}"}` },
    ]);
    expect((await exchangeCode(rig, receivedCode(0))).status).toBe(200);
  });

  test('can carry it in the query string', async () => {
    await install({ user_id: 'ada', send_as: 'query' });
    expect(rig.app.received[0]).toMatchObject({ method: 'POST', url: `/ring/token?code=${receivedCode(0)}`, body: '' });
  });

  test('tells what the app answered, also when that is no success or nothing', async () => {
    rig.app.status = 503;
    expect((await install({ user_id: 'ada' })).callback?.status).toBe(503);
    await rig.app.close();
    expect((await install({ user_id: 'ada' })).callback?.status).toBeNull();
  });

  test('can be sent twice at once with the same code', async () => {
    await control(rig, 'PUT', '/faults', [{ endpoint: 'callback', fault: { kind: 'twice' }, times: 1 }]);
    const installed = await install({ user_id: 'ada' });
    expect(installed.callback?.status).toBe(200);
    expect(installed.repeated?.status).toBe(200);
    expect(rig.app.received).toHaveLength(2);
    expect(receivedCode(1)).toBe(receivedCode(0));
  });

  test('can be late', async () => {
    const fault = { endpoint: 'callback', fault: { kind: 'delay', ms: scaled(500) }, when: 'before', times: 1 };
    await control(rig, 'PUT', '/faults', [fault]);
    expect((await install({ user_id: 'ada' })).callback).toBeNull();
    expect(rig.app.received).toHaveLength(0);
    await until('the callback has come', () => Promise.resolve(rig.app.received.length > 0));
    expect((await exchangeCode(rig, receivedCode(0))).status).toBe(200);
  });

  test('is logged without the code', async () => {
    await install({ user_id: 'ada', send_as: 'query' });
    expect(rig.lines).toEqual(['callback with the code as query -> 200']);
  });
});
