import { once } from 'node:events';
import { createServer, connect } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { Tables } from '../../src/database/tables.js';
import type { Service } from '../../src/service.js';
import { scaled } from '../support/waiting/limits.js';
import { until } from '../support/waiting/until.js';
import type { Fault } from '../support/worlds/ring.js';
import { freePort, startWorld, type World } from '../support/worlds/world.js';

interface Answer {
  status: number;
  type: string;
  text: string;
  headers: Headers;
}

const JSON_TYPE = { 'content-type': 'application/json' };
const FORM_TYPE = { 'content-type': 'application/x-www-form-urlencoded' };

/** A world with the usual patience for Ring, and one that gives up soon. */
let world: World;
let impatient: World;
let other: Service;
beforeAll(async () => {
  world = await startWorld();
  other = await world.startAnother();
  impatient = await startWorld({ ringTimeoutMs: scaled(700) });
});
afterEach(async () => {
  await world.ring.setFaults([]);
  await impatient.ring.setFaults([]);
});
afterAll(async () => {
  await impatient.stop();
  await world.stop();
});

async function send(init: RequestInit, query = '', appUrl = world.url): Promise<Answer> {
  const response = await fetch(`${appUrl}/ring/token${query}`, { method: 'POST', ...init });
  const type = response.headers.get('content-type') ?? '';
  return { status: response.status, type, text: await response.text(), headers: response.headers };
}

const sendJson = (body: unknown, appUrl = world.url) =>
  send({ headers: JSON_TYPE, body: JSON.stringify(body) }, '', appUrl);

/** A code of a new user, and a count of Ring's exchanges of it. */
async function freshCode(of = world) {
  const { code, account_id } = await of.ring.issueCode(await of.ring.createUser());
  return {
    code,
    account_id,
    exchanges: async () =>
      (await of.ring.requests()).filter((one) => one.path === '/oauth/token' && one.account_id === account_id).length,
    pairs: () => of.sql('SELECT status FROM ring_tokens WHERE account_id = $1', [account_id]),
  };
}

/** Expects a problem of RFC 9457 that tells no secret of Ring's or ours. */
function expectProblem(answer: Answer, statuses: number[], ...secrets: string[]): void {
  expect(statuses).toContain(answer.status);
  expect(answer.type).toMatch(/^application\/problem\+json\b/);
  const problem = JSON.parse(answer.text) as Record<string, unknown>;
  expect(problem).toEqual({
    type: 'about:blank',
    title: expect.any(String),
    status: answer.status,
    detail: expect.any(String),
  });
  const whole = answer.text + [...answer.headers].join();
  const never = [world.environment.RING_CLIENT_SECRET, world.environment.RING_HMAC_KEY, 'sim-', 'node_modules'];
  for (const secret of [...never, ...secrets]) expect(whole).not.toContain(secret);
}

async function ringRequests(): Promise<number> {
  return (await world.ring.requests()).filter(({ path }) => path === '/oauth/token').length;
}

describe('a good code', () => {
  test.each(['form', 'json', 'query'] as const)('is taken from the %s', async (sendAs) => {
    const user = await world.ring.createUser();
    const { callback } = await world.ring.install(user, sendAs);
    expect(callback?.status).toBe(200);
    expect(callback?.body).not.toMatch(/sim-/);
    await until('the pair is in the pool', async () => {
      const [pair] = await world.sql<Pick<Tables['ring_tokens'], 'status'>>(
        'SELECT status FROM ring_tokens WHERE account_id = $1',
        [user.account_id],
      );
      return pair?.status === 'UNCLAIMED';
    });
  });

  test.each([
    ['application/vnd.api+json', (code: string) => JSON.stringify({ code })],
    ['application/json; charset=utf-8', (code: string) => JSON.stringify({ state: [{}], code })],
    ['application/x-www-form-urlencoded; charset=UTF-8', (code: string) => `state=1&code=${code}`],
  ])('is taken from %s, whatever stands beside it', async (type, bodyOf) => {
    const { code, exchanges } = await freshCode();
    const answer = await send({ headers: { 'content-type': type }, body: bodyOf(code) });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('cache-control')).toContain('no-store');
    expect(answer.text).not.toContain(code);
    expect(await exchanges()).toBe(1);
  });

  test('may stand in body and query, if it is the same', async () => {
    const { code, exchanges } = await freshCode();
    const answer = await send({ headers: JSON_TYPE, body: JSON.stringify({ code }) }, `?code=${code}`);
    expect(answer.status).toBe(200);
    expect(await exchanges()).toBe(1);
  });

  test('may come compressed', async () => {
    const { code } = await freshCode();
    const headers = { ...JSON_TYPE, 'content-encoding': 'gzip' };
    expect((await send({ headers, body: gzipSync(JSON.stringify({ code })) })).status).toBe(200);
  });

  test('is stored even when Ring hangs up before the exchange is through', async () => {
    const { code, account_id, exchanges } = await freshCode();
    await world.ring.setFaults([{ endpoint: 'token', fault: { kind: 'hold' }, times: 1 }]);
    const hangUp = new AbortController();
    const sending = send({ headers: JSON_TYPE, body: JSON.stringify({ code }), signal: hangUp.signal });
    await until('Ring is asked', async () => (await exchanges()) === 1);
    hangUp.abort();
    await expect(sending).rejects.toThrow();
    await world.ring.release();
    await until('the pair is stored', async () => {
      const pairs = await world.sql('SELECT 1 FROM ring_tokens WHERE account_id = $1', [account_id]);
      return pairs.length === 1;
    });
    expect((await sendJson({ code })).status).toBe(200);
    expect(await exchanges()).toBe(1);
  });

  test('is stored even when the database refuses the first attempts', async () => {
    await world.sql(`
      CREATE SEQUENCE attempts;
      CREATE FUNCTION refuse_twice() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF nextval('attempts') <= 2 THEN RAISE EXCEPTION 'the disk is full' USING ERRCODE = '53100'; END IF;
        RETURN NEW; END $$;
      CREATE TRIGGER refuse_twice BEFORE INSERT ON ring_tokens FOR EACH ROW EXECUTE FUNCTION refuse_twice()`);
    try {
      const { code, account_id, exchanges } = await freshCode();
      expect((await sendJson({ code })).status).toBe(200);
      expect(await exchanges()).toBe(1);
      await until('the owner is known', async () => {
        const pairs = await world.sql('SELECT 1 FROM ring_tokens WHERE account_id = $1', [account_id]);
        return pairs.length === 1;
      });
    } finally {
      await world.sql('DROP TRIGGER refuse_twice ON ring_tokens; DROP FUNCTION refuse_twice; DROP SEQUENCE attempts');
    }
  });
});

describe('a request without a good code', () => {
  const json = (body: unknown): RequestInit => ({ headers: JSON_TYPE, body: JSON.stringify(body) });
  const raw = (body: string, headers: Record<string, string> = JSON_TYPE): RequestInit => ({ headers, body });

  test.each<{ what: string; init: RequestInit; query?: string }>([
    { what: 'nothing at all', init: {} },
    { what: 'an empty JSON object', init: json({}) },
    { what: 'an empty JSON body', init: raw('') },
    { what: 'an empty form', init: raw('', FORM_TYPE) },
    { what: 'a code under another name', init: json({ Code: 'x', authorization_code: 'x' }) },
    { what: 'an empty code', init: json({ code: '' }) },
    { what: 'an empty code in a form', init: raw('code=', FORM_TYPE) },
    { what: 'an empty code in the query', init: {}, query: '?code=' },
    { what: 'a code of 4,097 characters', init: json({ code: 'x'.repeat(4_097) }) },
    { what: 'a code of 4,097 characters in a form', init: raw(`code=${'x'.repeat(4_097)}`, FORM_TYPE) },
    { what: 'a code of 4,097 characters in the query', init: {}, query: `?code=${'x'.repeat(4_097)}` },
    { what: 'a code of more than 4 KB in fewer characters', init: json({ code: 'é'.repeat(2_100) }) },
    { what: 'a list', init: json({ code: ['x'] }) },
    { what: 'a list of equal codes', init: json({ code: ['x', 'x'] }) },
    { what: 'an object', init: json({ code: { code: 'x' } }) },
    { what: 'a number', init: json({ code: 1 }) },
    { what: 'true', init: json({ code: true }) },
    { what: 'null', init: json({ code: null }) },
    { what: 'control characters', init: json({ code: 'a\u0000b\r\n' }) },
    { what: 'a repeated form field', init: raw('code=x&code=y', FORM_TYPE) },
    { what: 'a repeated parameter', init: {}, query: '?code=x&code=y' },
    { what: 'a nested form field', init: raw('code[a]=x', FORM_TYPE) },
    { what: 'a nested parameter', init: {}, query: '?code[]=x' },
    { what: 'a code in the body and another in the query', init: json({ code: 'x' }), query: '?code=y' },
    { what: 'a code in the query and none that is text in the body', init: json({ code: 7 }), query: '?code=y' },
    { what: 'a JSON list', init: json([{ code: 'x' }]) },
    { what: 'JSON text', init: json('x') },
    { what: 'JSON null', init: json(null) },
    { what: 'malformed JSON', init: raw('{"code":"x"') },
    { what: 'malformed JSON beside a code in the query', init: raw('{'), query: '?code=x' },
    { what: 'JSON that says it is a form', init: raw('{"code":"x"}', FORM_TYPE) },
    { what: 'plain text', init: raw('code=x', { 'content-type': 'text/plain' }) },
    { what: 'a form with parts', init: raw('--b\r\n\r\n', { 'content-type': 'multipart/form-data; boundary=b' }) },
    {
      what: 'what is not gzip though it says so',
      init: raw('{"code":"x"}', { ...JSON_TYPE, 'content-encoding': 'gzip' }),
    },
  ])('$what is answered 400 and Ring hears nothing', async ({ init, query }) => {
    const before = await ringRequests();
    expectProblem(await send(init, query), [400]);
    expect(await ringRequests()).toBe(before);
  });

  test.each<[string, RequestInit]>([
    ['JSON', { headers: JSON_TYPE, body: JSON.stringify({ code: 'x', padding: 'x'.repeat(17_000) }) }],
    ['a form', { headers: FORM_TYPE, body: `code=x&padding=${'x'.repeat(17_000)}` }],
    ['a megabyte that is not even JSON', { headers: JSON_TYPE, body: 'x'.repeat(1_000_000) }],
    [
      'little that unpacks to much',
      { headers: { ...JSON_TYPE, 'content-encoding': 'gzip' }, body: gzipSync(`{"code":"${'x'.repeat(1_000_000)}"}`) },
    ],
  ])('a body over the limit, %s, is answered 413 and Ring hears nothing', async (_what, init) => {
    const before = await ringRequests();
    expectProblem(await send(init), [413]);
    expect(await ringRequests()).toBe(before);
  });

  test.each(['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])(
    '%s is answered 405 with what is allowed, and its code is not used',
    async (method) => {
      const { code, exchanges } = await freshCode();
      const answer = await send({ method }, `?code=${code}`);
      expectProblem(answer, [405], code);
      expect(answer.headers.get('allow')).toBe('POST');
      expect(await exchanges()).toBe(0);
      expect((await sendJson({ code })).status).toBe(200);
    },
  );

  test('HEAD is answered 405 too', async () => {
    const answer = await send({ method: 'HEAD' });
    expect({ status: answer.status, allow: answer.headers.get('allow') }).toEqual({ status: 405, allow: 'POST' });
  });

  test('any JSON value in place of a code that is no text is answered 400, and Ring hears nothing', async () => {
    const before = await ringRequests();
    const value = fc.jsonValue({ noUnicodeString: false }).filter((code) => typeof code !== 'string');
    await fc.assert(
      fc.asyncProperty(value, async (code) => {
        expectProblem(await sendJson({ code }), [400]);
      }),
      { numRuns: 150 },
    );
    expect(await ringRequests()).toBe(before);
  });

  test('any text as a code that Ring does not know is answered 400, wherever it stands', async () => {
    const text = fc.oneof(fc.string(), fc.string({ unit: 'binary', maxLength: 300 }));
    await fc.assert(
      fc.asyncProperty(text, fc.constantFrom('json', 'form', 'query'), async (code, where) => {
        const form = new URLSearchParams({ code }).toString();
        const answer = await {
          json: () => sendJson({ code }),
          form: () => send({ headers: FORM_TYPE, body: form }),
          query: () => send({}, `?${form}`),
        }[where]();
        expectProblem(answer, [400]);
      }),
      { numRuns: 200 },
    );
  });

  test('any bytes under any content type are the sender’s fault, never ours', async () => {
    const type = fc.constantFrom('application/json', 'application/x-www-form-urlencoded', 'application/json;charset=x');
    const encoding = fc.constantFrom('identity', 'gzip', 'deflate', 'br', 'other');
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), type, encoding, async (body, contentType, coding) => {
        const headers = { 'content-type': contentType, 'content-encoding': coding };
        expectProblem(await send({ headers, body: Buffer.from(body) }), [400, 413, 415]);
      }),
      { numRuns: 150 },
    );
    expect((await fetch(`${world.url}/livez`)).status).toBe(200);
  });
});

describe('the same code again', () => {
  test('in sequence is answered alike and exchanged once, also by another instance and in another form', async () => {
    const { code, exchanges, account_id } = await freshCode();
    const answers = [
      await sendJson({ code }),
      await sendJson({ code }),
      await sendJson({ code }, `http://localhost:${other.port}`),
      await send({ headers: FORM_TYPE, body: `code=${code}` }),
      await send({}, `?code=${code}`),
    ];
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(answers[0]?.status).toBe(200);
    expect(await exchanges()).toBe(1);
    await until('the owner is known', async () => {
      const pairs = await world.sql('SELECT 1 FROM ring_tokens WHERE account_id = $1', [account_id]);
      return pairs.length === 1;
    });
  });

  test.each([
    ['a quick Ring', []],
    ['a slow Ring', [{ endpoint: 'token', fault: { kind: 'delay', ms: 700 } }]],
  ] satisfies [string, Fault[]][])(
    'ten times at once over two instances, with %s, is answered alike and exchanged once',
    async (_which, faults) => {
      await world.ring.setFaults(faults);
      const { code, exchanges, account_id } = await freshCode();
      const urls = [world.url, `http://localhost:${other.port}`];
      const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => sendJson({ code }, urls[n % 2])));
      expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200));
      expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
      expect(await exchanges()).toBe(1);
      await until('the owner is known', async () => {
        const pairs = await world.sql('SELECT 1 FROM ring_tokens WHERE account_id = $1', [account_id]);
        return pairs.length === 1;
      });
    },
  );

  test('sent twice by Ring itself, at the same moment, is answered alike', async () => {
    await world.ring.setFaults([{ endpoint: 'callback', fault: { kind: 'twice' }, times: 1 }]);
    const { callback, repeated } = await world.ring.install(await world.ring.createUser());
    expect(callback?.status).toBe(200);
    expect(repeated).toEqual(callback);
  });

  test('ten times at once, while Ring refuses it, is refused ten times and tried once', async () => {
    const { code, exchanges } = await freshCode();
    world.clock.advance(61);
    const answers = await Promise.all(Array.from({ length: 10 }, () => sendJson({ code })));
    for (const answer of answers) expectProblem(answer, [400], code);
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(await exchanges()).toBe(1);
  });

  test('is known by its digest: the code itself is in no table', async () => {
    const { code } = await freshCode();
    await sendJson({ code });
    const exchanges = await world.sql<{ line: string }>('SELECT e::text AS line FROM token_exchanges e');
    const jobs = await world.sql<{ line: string }>('SELECT j::text AS line FROM graphile_worker._private_jobs j');
    const tokens = await world.sql<{ line: string }>('SELECT t::text AS line FROM ring_tokens t');
    expect(exchanges.length).toBeGreaterThan(0);
    const dump = [...exchanges, ...jobs, ...tokens].map(({ line }) => line).join('\n');
    expect(dump).not.toContain(code);
    expect(dump).not.toContain(Buffer.from(code).toString('hex'));
  });
});

describe('a bad code', () => {
  test.each([
    ['that Ring never issued', () => Promise.resolve('no-such-code')],
    ['of the greatest length', () => Promise.resolve('x'.repeat(4_096))],
    ['with characters that a form has to escape', () => Promise.resolve('a&code=b;c=d%00+ "\\~')],
    [
      'that is too old',
      async () => {
        const { code } = await freshCode();
        world.clock.advance(61);
        return code;
      },
    ],
  ])('%s is refused with 400, and not tried again', async (_which, codeOf) => {
    const code = await codeOf();
    const before = await ringRequests();
    const answers = [await sendJson({ code }), await sendJson({ code })];
    for (const answer of answers) expectProblem(answer, [400], code);
    expect(answers[0]?.text).toBe(answers[1]?.text);
    expect(await ringRequests()).toBe(before + 1);
  });

  test('is refused without a word of what Ring said', async () => {
    const { code } = await freshCode();
    const body = JSON.stringify({ error: 'invalid_grant', error_description: `leak: ${code} for test-client` });
    await world.ring.setFaults([
      { endpoint: 'token', fault: { kind: 'body', status: 400, contentType: 'application/json', body }, times: 1 },
    ]);
    expectProblem(await sendJson({ code }), [400], code, 'leak', 'test-client');
    expect(world.log.join('')).not.toContain(code);
  });
});

describe('when Ring fails in the exchange', () => {
  const status = (code: number): Fault['fault'] => ({ kind: 'status', status: code });
  const body = (text: string, contentType = 'application/json', code = 200): Fault['fault'] => ({
    kind: 'body',
    status: code,
    contentType,
    body: text,
  });
  const pair = (without = '') =>
    JSON.stringify({
      access_token: 'leaked-at',
      refresh_token: 'leaked-rt',
      expires_in: 14_400,
      token_type: 'Bearer',
      [without]: undefined,
    });

  test.each<[string, Fault['fault'], Fault['when']]>([
    ['500 before it acts', status(500), 'before'],
    ['503 after it has acted', status(503), 'after'],
    ['504 after it has acted', status(504), 'after'],
    ['404', status(404), 'before'],
    ['HTML', body('<!doctype html><h1>leaked-at</h1>', 'text/html'), 'after'],
    ['garbage', body('\u0001\u0002leaked-at{'), 'after'],
    ['an empty body', body(''), 'after'],
    ['a pair without an access token', body(pair('access_token')), 'after'],
    ['a pair without a refresh token', body(pair('refresh_token')), 'after'],
    ['half a pair', body(pair().slice(0, -20)), 'after'],
    ['half a megabyte', body(pair().replace('{', `{"padding":"${'x'.repeat(500_000)}",`)), 'after'],
    ['a redirect', body(pair(), 'application/json', 302), 'after'],
    ['a reset connection, before it acts', { kind: 'reset' }, 'before'],
    ['a reset connection, after it has acted', { kind: 'reset' }, 'after'],
  ])('with %s, the code is spent: 502 or 503, the same for every delivery, one exchange', async (_how, fault, when) => {
    const { code, exchanges, pairs } = await freshCode();
    await world.ring.setFaults([{ endpoint: 'token', fault, times: 1, ...(when && { when }) }]);
    const answers = [await sendJson({ code }), await sendJson({ code })];
    for (const answer of answers) expectProblem(answer, [502, 503], code, 'leaked');
    expect(answers[1]).toMatchObject({ status: answers[0]?.status, text: answers[0]?.text });
    expect(await exchanges()).toBe(1);
    expect(await pairs()).toEqual([]);
    expect(world.log.join('')).not.toContain('leaked-');
  });

  test.each<[string, Fault]>([
    ['silence', { endpoint: 'token', fault: { kind: 'silence' }, times: 1 }],
    [
      'an answer that comes too late',
      { endpoint: 'token', fault: { kind: 'delay', ms: scaled(1_500) }, when: 'after', times: 1 },
    ],
  ])('with %s, deliveries together and later get 503, and the code is not sent again', async (_how, fault) => {
    const { code, exchanges } = await freshCode(impatient);
    await impatient.ring.setFaults([fault]);
    const together = await Promise.all(Array.from({ length: 3 }, () => sendJson({ code }, impatient.url)));
    const answers = [...together, await sendJson({ code }, impatient.url)];
    for (const answer of answers) expectProblem(answer, [503], code);
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(await exchanges()).toBe(1);
  });

  test.each<[string, Fault['fault']]>([
    ['asks for fewer requests', { kind: 'status', status: 429, retryAfterSeconds: 1 }],
    ['does not accept our credentials', { kind: 'status', status: 401 }],
  ])('when Ring %s it has not used the code, which works when it is sent again', async (_how, fault) => {
    const { code, exchanges } = await freshCode();
    await world.ring.setFaults([{ endpoint: 'token', fault, times: 1 }]);
    expectProblem(await sendJson({ code }), [502, 503], code);
    expect((await sendJson({ code })).status).toBe(200);
    expect(await exchanges()).toBe(2);
  });

  test('while Ring is down the answer is 503 with Retry-After, and the code works as soon as Ring is up', async () => {
    const port = await freePort();
    const cutOff = await startWorld({ environment: { RING_OAUTH_URL: `http://localhost:${port}` } });
    try {
      const { code, exchanges } = await freshCode(cutOff);
      const answers = await Promise.all(Array.from({ length: 4 }, () => sendJson({ code }, cutOff.url)));
      for (const answer of answers) {
        expectProblem(answer, [503], code);
        expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
      }
      expect(await exchanges()).toBe(0);

      const ringPort = Number(new URL(cutOff.ring.url).port);
      const wire = createServer((socket) => {
        const upstream = connect(ringPort, '127.0.0.1');
        socket.pipe(upstream).pipe(socket);
        for (const end of [socket, upstream]) end.on('error', () => end.destroy());
      }).listen(port);
      await once(wire, 'listening');
      expect((await sendJson({ code }, cutOff.url)).status).toBe(200);
      expect(await exchanges()).toBe(1);
      wire.close();
    } finally {
      await cutOff.stop();
    }
  });
});

describe('a flood of callbacks', () => {
  let small: World;
  let urls: string[];
  beforeAll(async () => {
    small = await startWorld({ environment: { RATE_LIMIT_SCALE: '0.01' } });
    urls = [small.url, `http://localhost:${(await small.startAnother()).port}`];
  });
  afterAll(() => small.stop());

  /** Sends twenty callbacks at once to two instances, and expects 429 and Retry-After for most of them. */
  async function flood(codeOf: (n: number) => string): Promise<number> {
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => sendJson({ code: codeOf(n) }, urls[n % 2])));
    const throttled = answers.filter(({ status }) => status === 429);
    for (const answer of throttled) {
      expectProblem(answer, [429]);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    }
    return throttled.length;
  }

  const exchanged = async () => (await small.ring.requests()).filter(({ path }) => path === '/oauth/token').length;

  test('that Ring refuses, from one address, is stopped over all instances before Ring is asked again', async () => {
    expect(await flood((n) => `flood-${n}`)).toBe(19);
    expect(await exchanged()).toBe(1);
  });

  test('from one address is throttled over all instances, also if the code is good', async () => {
    await small.sql('DELETE FROM rate_limits');
    const { code, exchanges } = await freshCode(small);
    // What this process knows of the address is a second old at most.
    await until('the code is taken', async () => (await sendJson({ code }, small.url)).status === 200);
    await small.sql(`DELETE FROM rate_limits WHERE key LIKE 'token_exchange%'`);

    expect(await flood(() => code)).toBe(14);
    expect(await exchanges()).toBe(1);
  });
});
