import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import { type Answer, deliver, type Envelope, newEvent, post, sign } from '../support/clients/webhooks.js';
import { untilProcessed } from '../support/features/inbox.js';
import { linked } from '../support/features/linking.js';
import { holdLock } from '../support/waiting/locks.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.stop());

type Row = Tables['webhook_events'];

async function rowsOf(requestId: string): Promise<Row[]> {
  return world.sql<Row>('SELECT * FROM webhook_events WHERE request_id = $1', [requestId]);
}

async function countRows(): Promise<number> {
  const [row] = await world.sql<{ count: number }>('SELECT count(*)::int AS count FROM webhook_events');
  return row?.count ?? 0;
}

/** Expects a problem of RFC 9457 that contains no secret. */
function expectProblem({ status, headers, text }: Answer, expected: number): string {
  expect(status).toBe(expected);
  expect(headers['content-type']).toMatch(/^application\/problem\+json\b/);
  const problem = JSON.parse(text) as { detail: string };
  expect(problem).toEqual({ type: 'about:blank', title: expect.any(String), status, detail: expect.any(String) });
  expect(text).not.toMatch(/node_modules|signing-key|[0-9a-f]{64}/);
  return problem.detail;
}

async function expectRefused(answer: Promise<Answer>, status: number): Promise<string> {
  const before = await countRows();
  const detail = expectProblem(await answer, status);
  expect(await countRows()).toBe(before);
  return detail;
}

/** The event with another value at a path such as `meta.time`. Undefined removes the member. */
function withValue(event: Envelope, path: string, value: unknown): string {
  const names = path.split('.');
  const last = names.pop() ?? '';
  const copy = structuredClone(event) as object;
  let parent = copy as Record<string, unknown>;
  for (const name of names) parent = parent[name] as Record<string, unknown>;
  parent[last] = value;
  return JSON.stringify(copy);
}

/** A body of exactly so many bytes. */
function ofSize(bytes: number): string {
  const event = newEvent();
  event.data.padding = '';
  event.data.padding = 'x'.repeat(bytes - JSON.stringify(event).length);
  return JSON.stringify(event);
}

describe('an event that Ring has signed', () => {
  test('is stored with its body, and answered 200 with nothing in it', async () => {
    const event = newEvent();
    const body = JSON.stringify(event);
    const answer = await deliver(world.url, body);

    expect({ status: answer.status, text: answer.text }).toEqual({ status: 200, text: '' });
    expect(await rowsOf(event.meta.request_id)).toMatchObject([
      {
        account_id: event.meta.account_id,
        type: 'button_press',
        status: 'PENDING',
        body,
        occurred_at: new Date(event.data.attributes.timestamp as number),
      },
    ]);
  });

  // Made with `openssl dgst -sha256 -hmac`.
  test.each([
    {
      what: 'in plain ASCII',
      requestId: '7b0f6d0e-5a51-4f2e-9b39-0c2f6f1f0a01',
      signature: 'sha256=b439318fa58892df57cc82985cb66568218ff4ed19f1c2281771c14c25952a55',
      body: '{"meta":{"version":"1.1","time":"2026-10-01T12:00:00.123456789Z","request_id":"7b0f6d0e-5a51-4f2e-9b39-0c2f6f1f0a01","account_id":"ava1.ring.account.vector"},"data":{"id":"event-1","type":"button_press","attributes":{"source":"device-1","source_type":"devices","timestamp":1790856000123}}}',
    },
    {
      what: 'with odd spacing, words in other scripts and a UUID in capitals',
      requestId: '7b0f6d0e-5a51-4f2e-9b39-0c2f6f1f0a02',
      signature: 'sha256=169099a87c7de9bfe05baf62a011322474f6f2dbfb80ee58609a209ef6e65d81',
      body: `{ "meta" : {"version":"1.1",\t"time":"2026-10-01T12:00:00Z","request_id":"7B0F6D0E-5A51-4F2E-9B39-0C2F6F1F0A02","account_id":"ava1.ring.account.vector"},
  "data": {"id":"event-2","type":"button_press","name":"Tür – 玄関 🚪","attributes":{"source":"device-1","source_type":"devices","timestamp":1790856000124}}}`,
    },
  ])('$what is known by a signature that openssl made, and kept byte for byte', async ({ requestId, ...sent }) => {
    const answer = await post(world.url, { body: sent.body, headers: { 'x-signature': sent.signature } });

    expect(answer.status).toBe(200);
    expect((await rowsOf(requestId)).map(({ body }) => body)).toEqual([sent.body]);
  });

  test('is answered 200 again when it comes again, and stays one row as it was', async () => {
    const event = newEvent();
    const body = JSON.stringify(event);
    expect((await deliver(world.url, body)).status).toBe(200);
    expect((await deliver(world.url, body)).status).toBe(200);
    // The request ID alone decides that it is the same event.
    const shouted = { ...event, meta: { ...event.meta, request_id: event.meta.request_id.toUpperCase() } };
    expect((await deliver(world.url, JSON.stringify(shouted))).status).toBe(200);

    expect(await rowsOf(event.meta.request_id)).toMatchObject([{ body }]);
  });

  test('of an unknown type is kept as such and answered 200', async () => {
    for (const type of ['doorbell_melted', '__proto__', 'constructor', 'toString']) {
      const event = newEvent({ type });
      event.data.attributes = { anything: [1, null] };
      const body = JSON.stringify(event);
      expect((await deliver(world.url, body)).status).toBe(200);
      expect(await rowsOf(event.meta.request_id)).toMatchObject([{ type, status: 'UNKNOWN_TYPE', body }]);
    }
  });

  test('keeps its unknown members', async () => {
    const event = { ...newEvent(), links: { next: null }, jsonapi: { version: '1.1' } };
    Object.assign(event.meta, { trace: 'ünknown' });
    Object.assign(event.data, { meta: [1.5e300, -0, {}] });
    const body = JSON.stringify(event);
    expect((await deliver(world.url, body)).status).toBe(200);
    expect(await rowsOf(event.meta.request_id)).toMatchObject([{ body }]);
  });

  test.each([
    ['2026-01-02T03:04:05Z', '2026-01-02T03:04:05.000Z'],
    ['2026-01-02T03:04:05.6Z', '2026-01-02T03:04:05.600Z'],
    ['2026-01-02T03:04:05.678912345Z', '2026-01-02T03:04:05.678Z'],
    ['2026-01-02T03:04:05.678912345+05:30', '2026-01-01T21:34:05.678Z'],
    ['0001-01-01T00:00:00.999999999Z', '0001-01-01T00:00:00.999Z'],
    ['2026-09-30T23:59:59.999999999Z', '2026-09-30T23:59:59.999Z'],
  ])('at %s, without a timestamp of its own, happened at %s', async (time, expected) => {
    const event = newEvent({ type: 'subscription_activated' });
    event.meta.time = time;
    event.data.attributes = { source: 'subscriptions', source_id: 'subscription-1', sub_type: 'trial', plan_id: null };
    expect((await deliver(world.url, JSON.stringify(event))).status).toBe(200);

    // Read as text, because the driver fails on years of one digit.
    const stored = await world.sql(
      `SELECT to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS at
         FROM webhook_events WHERE request_id = $1`,
      [event.meta.request_id],
    );
    expect(stored).toEqual([{ at: expected }]);
  });

  test.each(['users', 'accounts'])('about the account may have the source type %s', async (source_type) => {
    for (const type of ['app_integration_added', 'app_integration_removed']) {
      const event = newEvent({ type });
      event.data.attributes = { source: event.meta.account_id, source_type, timestamp: 1_790_856_000_000 };
      expect((await deliver(world.url, JSON.stringify(event))).status).toBe(200);
      expect(await rowsOf(event.meta.request_id)).toHaveLength(1);
    }
  });

  test('may have its sub type in either place, or none, or null', async () => {
    const { ringUser } = await linked(world);
    const wishes = [{ subType: 'human' }, { sub_type: 'vehicle' }, {}, { subType: null, sub_type: null }];
    for (const [index, { subType, sub_type }] of wishes.entries()) {
      const event = newEvent({ accountId: ringUser.account_id, type: 'motion_detected', deviceId: `place-${index}` });
      if (subType !== undefined) event.data.subType = subType;
      if (sub_type !== undefined) event.data.attributes.sub_type = sub_type;
      expect((await deliver(world.url, JSON.stringify(event))).status).toBe(200);
    }
    await untilProcessed(world, ringUser);

    const recorded = await world.sql<Pick<Tables['device_events'], 'subtype'>>(
      'SELECT subtype FROM device_events WHERE account_id = $1 ORDER BY device_id',
      [ringUser.account_id],
    );
    expect(recorded.map(({ subtype }) => subtype)).toEqual(['human', 'vehicle', null, null]);
  });

  test.each([
    'application/json',
    'application/json; charset=utf-8',
    'application/json; charset=utf-16',
    'application/vnd.api+json',
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'text/plain',
    'complete nonsense;;;',
    undefined,
  ])('is taken as content type %s: the signature vouches for it', async (contentType) => {
    const event = newEvent();
    const body = JSON.stringify(event);
    const answer = await post(world.url, { body, headers: { 'content-type': contentType, 'x-signature': sign(body) } });
    expect(answer.status).toBe(200);
    expect(await rowsOf(event.meta.request_id)).toMatchObject([{ body }]);
  });

  test('may be 256 KB long', async () => {
    const body = ofSize(256 * 1_024);
    expect((await deliver(world.url, body)).status).toBe(200);
    expect(await rowsOf((JSON.parse(body) as Envelope).meta.request_id)).toMatchObject([{ body }]);
  });

  test('gets no header that only browsers need, and no session', async () => {
    const { headers } = await deliver(world.url, JSON.stringify(newEvent()));
    expect(Object.keys(headers).sort()).toEqual(['connection', 'content-length', 'date']);
  });
});

describe('a signature', () => {
  const flip = (signature: string): string => signature.slice(0, -1) + (signature.endsWith('0') ? '1' : '0');
  const base64 = (signature: string): string => Buffer.from(signature.slice(7), 'hex').toString('base64');
  const base64url = (signature: string): string => Buffer.from(signature.slice(7), 'hex').toString('base64url');

  test.each<[string, (signature: string, body: string) => string | string[] | undefined]>([
    ['that is missing', () => undefined],
    ['that is empty', () => ''],
    ['without its scheme', (good) => good.slice(7)],
    ['of another scheme', (good) => `sha512=${good.slice(7)}`],
    ['with nothing behind the scheme', () => 'sha256='],
    ['that lacks its last digit', (good) => good.slice(0, -1)],
    ['that lacks its last byte', (good) => good.slice(0, -2)],
    ['with a byte too many', (good) => `${good}00`],
    ['that differs in its last digit', flip],
    ['with a letter that is no digit', (good) => `${good.slice(0, -1)}g`],
    ['with a space inside', (good) => good.replace('=', '= ')],
    ['in base64', (good) => `sha256=${base64(good)}`],
    ['in the base64url of nonces', (good) => `sha256=${base64url(good)}`],
    ['under another key', (_good, body) => sign(body, 'another key')],
    ['under no key at all', (_good, body) => sign(body, '')],
    ['over another body', (_good, body) => sign(`${body} `)],
    ['over the same JSON with other spacing', (_good, body) => sign(JSON.stringify(JSON.parse(body), null, 2))],
    ['over an empty body', () => sign('')],
    ['that is there twice', (good) => [good, good]],
    ['beside another one', (good) => [good, flip(good)]],
    ['in a list', (good) => `${good}, ${good}`],
  ])('%s is answered 401, and nothing is stored', async (_what, header) => {
    const body = JSON.stringify(newEvent());
    const headers = { 'content-type': 'application/json', 'x-signature': header(sign(body), body) };
    const detail = await expectRefused(post(world.url, { body, headers }), 401);
    expect(detail).toContain('X-Signature');
  });

  test('may be written in capitals: hex digits are the same in either case', async () => {
    const event = newEvent();
    const body = JSON.stringify(event);
    const headers = { 'x-signature': sign(body).toUpperCase() };
    expect((await post(world.url, { body, headers })).status).toBe(200);
    expect(await rowsOf(event.meta.request_id)).toHaveLength(1);
  });

  test('is asked for before anything is read: a malformed body without one is answered 401', async () => {
    for (const body of ['', '{', 'null', '\xff']) await expectRefused(post(world.url, { body }), 401);
  });
});

describe('a signed event in which something is not as documented', () => {
  const device = newEvent();
  const account = newEvent({ type: 'app_integration_removed' });
  account.data.attributes = { source: account.meta.account_id, source_type: 'users', timestamp: 1_790_856_000_000 };
  const subscription = newEvent({ type: 'subscription_deactivated' });
  subscription.data.attributes = { source: 'subscriptions', source_id: 'subscription-1' };

  const noText = [undefined, null, 1, true, {}, []];
  const noId = [...noText, '', ' ', 'a b', 'ü', 'line\nbreak', '\u0000', '\ud800', 'x'.repeat(513)];
  const noPathId = [...noId, '.', '..'];
  const noStorableText = [...noText, '', '\u0000', '\ud800'];
  const noObject = [undefined, null, 1, 'x', []];
  const noTimestamp = [undefined, null, '1790856000000', true, -1, 0.5, 253_402_300_800_000, 1e308, {}, []];

  test.each<{ kind: string; event: Envelope; field: string; values: unknown[] }>([
    { kind: 'any event', event: device, field: 'meta', values: noObject },
    { kind: 'any event', event: device, field: 'meta.version', values: noStorableText },
    {
      kind: 'any event',
      event: device,
      field: 'meta.time',
      values: [...noText, '', 'yesterday', '2026-13-01T00:00:00Z', '2026-01-01', '2026-01-01T00:00:00.1234567890Z'],
    },
    {
      kind: 'any event',
      event: device,
      field: 'meta.request_id',
      values: [...noText, '', 'x', `${randomUUID()}0`, randomUUID().slice(1), `{${randomUUID()}}`],
    },
    { kind: 'any event', event: device, field: 'meta.account_id', values: noPathId },
    { kind: 'any event', event: device, field: 'data', values: noObject },
    { kind: 'any event', event: device, field: 'data.id', values: [...noStorableText, 'x'.repeat(513)] },
    { kind: 'any event', event: device, field: 'data.type', values: [...noStorableText, 'x'.repeat(201)] },
    { kind: 'a device event', event: device, field: 'data.attributes', values: noObject },
    { kind: 'a device event', event: device, field: 'data.attributes.source', values: noPathId },
    { kind: 'a device event', event: device, field: 'data.attributes.timestamp', values: noTimestamp },
    { kind: 'an event of the account', event: account, field: 'data.attributes.timestamp', values: noTimestamp },
    { kind: 'an event of a subscription', event: subscription, field: 'data.attributes', values: noObject },
  ])(
    '$field of $kind is answered 400 that names the field, and nothing is stored',
    async ({ event, field, values }) => {
      for (const value of values) {
        const body = withValue(event, field, value);
        const detail = await expectRefused(deliver(world.url, body), 400);
        // For the reader of the message, a missing object and a missing member of it are the same.
        expect(detail).toContain(`${field}: `);
        // The sent value may be long or private.
        if (typeof value === 'string' && value.length > 3) expect(detail).not.toContain(value);
      }
      expect((await deliver(world.url, JSON.stringify({ ...event, meta: newEvent().meta }))).status).toBe(200);
    },
  );

  test.each<[string, string | Buffer]>([
    ['an empty body', ''],
    ['JSON that is cut off', JSON.stringify(device).slice(0, -1)],
    ['JSON with something behind it', `${JSON.stringify(device)}x`],
    ['no JSON at all', 'meta=1&data=2'],
    ['bytes that are no UTF-8', Buffer.from(JSON.stringify(device).replace('device-1', 'device-\xff'), 'latin1')],
    ['UTF-16', Buffer.from(JSON.stringify(device), 'utf16le')],
    ['a list', JSON.stringify([device])],
    ['null', 'null'],
    ['a number', '17'],
    ['text', '"text"'],
    ['true', 'true'],
    ['an empty object', '{}'],
    ['nothing but brackets', `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
    ['brackets that never close', '['.repeat(250_000)],
    ['an object in an object, and so on', `${'{"a":'.repeat(40_000)}1${'}'.repeat(40_000)}`],
    ['U+0000 outside of text', `${JSON.stringify(device)}\0`],
  ])('%s is answered 400, and nothing is stored', async (_what, body) => {
    await expectRefused(deliver(world.url, body), 400);
  });
});

describe('hostile but legal JSON', () => {
  const nested = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;

  test.each<[string, string]>([
    ['100,000 brackets', `"x":${nested}`],
    ['40,000 objects inside each other', `"x":${'{"a":'.repeat(40_000)}1${'}'.repeat(40_000)}`],
    ['halves of surrogate pairs', String.raw`"x":"\ud800","\udfff":1`],
    ['U+0000 in names and texts', String.raw`"x\u0000":"\u0000"`],
    ['numbers that no computer holds', `"x":[1e999999,-1e999999,${'9'.repeat(100_000)},1e-999999]`],
    ['the names of what objects inherit', '"__proto__":{"admin":true},"constructor":{"prototype":{"admin":true}}'],
    ['10,000 members', Array.from({ length: 10_000 }, (_, n) => `"m${n}":${n}`).join()],
    ['the same name twice', '"x":1,"x":2'],
  ])('%s: the event is stored, byte for byte, and applied', async (_what, members) => {
    const { ringUser } = await linked(world);
    const event = newEvent({ accountId: ringUser.account_id });
    const body = `{"meta":${JSON.stringify(event.meta)},"data":{${members},${JSON.stringify(event.data).slice(1)}}`;
    const answer = await deliver(world.url, body);

    expect(answer.status).toBe(200);
    expect(await rowsOf(event.meta.request_id)).toMatchObject([{ body }]);
    await untilProcessed(world, ringUser);
    expect(await rowsOf(event.meta.request_id)).toMatchObject([{ status: 'PROCESSED' }]);
    expect({}).not.toHaveProperty('admin');
  });

  test.each([
    ['meta.request_id', '{"__proto__":"x"}'],
    ['meta.account_id', String.raw`"ava1.\u0000"`],
    ['meta.account_id', String.raw`"ava1.\ud800"`],
    ['data.attributes.timestamp', '1e999999'],
    ['data.attributes.timestamp', '9'.repeat(400)],
    ['data.attributes', '{"__proto__":{"source":"d","source_type":"devices","timestamp":1}}'],
    ['meta', '{"__proto__":{"version":"1.1"}}'],
  ])('%s as %.40s is answered 400', async (field, json) => {
    const body = withValue(newEvent(), field, '@').replace('"@"', json);
    expect(await expectRefused(deliver(world.url, body), 400)).toContain(field);
  });
});

describe('more than there is room for', () => {
  test('is answered 503 with the time to try again, and what is answered 200 is stored', async () => {
    const release = await holdLock(world, 'LOCK TABLE webhook_events IN EXCLUSIVE MODE');
    // Some more than the 64 MB that are held at once.
    const bodies = Array.from({ length: 300 }, () => ofSize(256 * 1_024));
    const answers: Answer[] = [];
    const all = bodies.map(async (body) => {
      const answer = await deliver(world.url, body);
      answers.push(answer);
      return { body, answer };
    });
    await until('some are refused', () => Promise.resolve(answers.length > 0));
    const [refused] = answers;
    if (refused === undefined) throw new Error('none was refused');
    expectProblem(refused, 503);
    expect(refused.headers['retry-after']).toMatch(/^\d+$/);
    await release();

    for (const { body, answer } of await Promise.all(all)) {
      expect([200, 503]).toContain(answer.status);
      if (answer.status !== 200) continue;
      expect(await rowsOf((JSON.parse(body) as Envelope).meta.request_id)).toHaveLength(1);
    }
    expect((await deliver(world.url, ofSize(256 * 1_024))).status).toBe(200);
  });
});

describe('a request that is no delivery', () => {
  test.each(['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])('%s is answered 405 with what is allowed', async (method) => {
    const body = JSON.stringify(newEvent());
    const headers = { 'x-signature': sign(body) };
    const answer = await post(world.url, { method, body, headers });
    expectProblem(answer, 405);
    expect(answer.headers.allow).toBe('POST');
  });

  test.each([256 * 1_024 + 1, 1_000_000])('%d bytes are answered 413, and nothing is stored', async (size) => {
    await expectRefused(deliver(world.url, ofSize(size)), 413);
  });

  test('a body that goes on and on without a length is answered 413', async () => {
    let chunks = 0;
    const answer = await fetch(`${world.url}/webhooks/ring`, {
      method: 'POST',
      duplex: 'half',
      body: new ReadableStream({
        pull(controller) {
          controller.enqueue(Buffer.alloc(64 * 1_024, 'x'));
          if (++chunks === 20) controller.close();
        },
      }),
    });
    expect(answer.status).toBe(413);
  });

  test('a compressed body is answered 415: Ring signs what it sends, and sends no such thing', async () => {
    const body = JSON.stringify(newEvent());
    const headers = { 'content-encoding': 'gzip', 'x-signature': sign(body) };
    await expectRefused(post(world.url, { body, headers }), 415);
  });
});
