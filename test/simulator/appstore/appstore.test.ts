import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { Rig } from '../rig.js';
import { control, exchangeCode, getMe, newTokens, startRig } from '../rig.js';

let rig: Rig;
beforeEach(async () => {
  rig = await startRig();
});
afterEach(() => rig.close());

const open = (path: string): Promise<Response> => fetch(`${rig.url}${path}`);

/** Sends a form as a browser does, and does not follow the redirect. */
function submit(path: string, fields: [string, string][] = []): Promise<Response> {
  return fetch(`${rig.url}${path}`, { method: 'POST', body: new URLSearchParams(fields), redirect: 'manual' });
}

const DEVICES: [string, string][] = [
  ['device_id', 'ada-driveway'],
  ['device_id', 'ada-front-door'],
];

describe('installing', () => {
  test('sends the code and redirects the browser to the account-link page with a nonce', async () => {
    const response = await submit('/users/ada/install', [...DEVICES, ['send_as', 'form']]);
    expect(response.status).toBe(303);
    expect(response.headers.get('location')).toMatch(
      new RegExp(`^https://app\\.example\\.com/ring/link\\?nonce=[\\w-]{43}&time=${rig.clock.now}$`),
    );
    expect(rig.app.received[0]?.body).toMatch(/^code=sim-code-/);
    expect(await control(rig, 'GET', '/integrations')).toEqual([
      expect.objectContaining({ status: 'pending', device_ids: ['ada-front-door', 'ada-driveway'] }),
    ]);
  });

  test('shows what the callback answered when that is no success', async () => {
    rig.app.status = 502;
    const response = await submit('/users/ada/install', DEVICES);
    expect(response.status).toBe(502);
    const page = await response.text();
    expect(page).toContain('It answered with status 502.');
    expect(page).toContain('&lt;b&gt;answer 1&lt;/b&gt;');
  });

  test('wants at least one device', async () => {
    const response = await submit('/users/ada/install');
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('Choose at least one device.');
    expect(rig.app.received).toHaveLength(0);
  });

  test('twice in a row sends one code', async () => {
    await submit('/users/ada/install', DEVICES);
    const second = await submit('/users/ada/install', DEVICES);
    expect(second.headers.get('location')).toBe('/users/ada');
    expect(rig.app.received).toHaveLength(1);
  });

  test('redirects at once when the callback is to be late', async () => {
    const fault = { endpoint: 'callback', fault: { kind: 'delay', ms: 600_000 } };
    await control(rig, 'PUT', '/faults', [fault]);
    expect((await submit('/users/ada/install', DEVICES)).status).toBe(303);
    expect(rig.app.received).toHaveLength(0);
  });
});

describe('an installed app', () => {
  test('shows its state, and Sign In redirects with a fresh nonce and no new code', async () => {
    await submit('/users/ada/install', DEVICES);
    const page = await (await open('/users/ada')).text();
    expect(page).toContain('pending');
    expect(page).toContain('href="https://app.example.com/ring/home"');

    rig.clock.now += 1;
    const response = await submit('/users/ada/sign-in');
    expect(response.status).toBe(303);
    expect(response.headers.get('location')).toContain(`&time=${rig.clock.now}`);
    expect(rig.app.received).toHaveLength(1);
  });

  test('is removed with its tokens; adding it again makes new ones', async () => {
    const { access_token } = await newTokens(rig);
    expect((await submit('/users/ada/remove')).headers.get('location')).toBe('/users/ada');
    expect((await getMe(rig, access_token)).status).toBe(403);

    await submit('/users/ada/install', DEVICES);
    const code = /sim-code-[\w-]+/.exec(rig.app.received[0]?.body ?? '')?.[0] ?? '';
    expect((await exchangeCode(rig, code)).status).toBe(200);
  });
});

describe('the pages', () => {
  test('escape whatever comes from outside', async () => {
    const name = `<script>alert("1")</script>'&`;
    const { id } = await control<{ id: string }>(rig, 'POST', '/users', { first_name: name, devices: [{ name }] });
    for (const path of ['/', `/users/${id}`]) {
      const page = await (await open(path)).text();
      expect(page).not.toContain('<script');
      expect(page).toContain('&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;');
    }
  });

  test('have no script and no inline style, and say that this is not Ring', async () => {
    await newTokens(rig, 'zoe');
    for (const path of ['/', '/users/ada', '/users/zoe', '/misbehaviour', '/deliveries']) {
      const page = await (await open(path)).text();
      expect(page).not.toMatch(/<script|style=|<style| on\w+=/);
      expect(page).toContain('This is not Ring.');
    }
    expect((await open('/style.css')).headers.get('content-type')).toBe('text/css; charset=utf-8');
  });

  test('answer 404 for a user or a page that is not there', async () => {
    expect((await open('/users/nobody')).status).toBe(404);
    expect((await open('/nothing')).status).toBe(404);
  });
});

describe('the misbehaviour forms', () => {
  test('add faults, show them and clear them', async () => {
    const added = await submit('/misbehaviour/ring', [
      ['endpoint', 'users-me'],
      ['kind', 'status'],
      ['when', 'before'],
      ['ms', '5000'],
      ['status', '503'],
      ['retryAfterSeconds', ''],
      ['times', '2'],
    ]);
    expect(added.status).toBe(303);
    expect((await getMe(rig, 'any')).status).toBe(503);
    expect(await (await open('/misbehaviour')).text()).toContain('users-me: status 503, before the effect, 1 more');

    await submit('/misbehaviour/clear');
    expect((await getMe(rig, 'any')).status).toBe(403);
  });

  test('add a callback fault', async () => {
    await submit('/misbehaviour/callback', [
      ['kind', 'twice'],
      ['ms', '5000'],
      ['times', ''],
    ]);
    expect(await (await open('/misbehaviour')).text()).toContain('callback: sent twice at once, always');
  });

  test('refuse a value that is missing or wrong', async () => {
    const response = await submit('/misbehaviour/callback', [['kind', 'delay']]);
    expect(response.status).toBe(400);
  });

  test('switch the shape of the success body', async () => {
    await submit('/misbehaviour/settings', [['integrationBody', 'json-api']]);
    expect(await (await open('/misbehaviour')).text()).toContain('value="json-api" selected');
  });
});
