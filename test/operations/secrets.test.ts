import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import type { Visitor } from '../support/clients/visitor.js';
import { until } from '../support/waiting/until.js';
import { type AppProcess, createProcessWorld, type ProcessWorld } from '../support/worlds/process.js';
import type { Fault, RingUser } from '../support/worlds/ring.js';

/** The beginning of every token and code of the simulator. */
const TOKENS_AND_CODES = /sim-(at|rt|code)-/;
const NOWHERE = 'a-secret-that-is-nowhere';

let world: ProcessWorld;
let app: AppProcess;
/** All rows of all tables as text, followed by the decoded form of what is encoded in them. */
let dump: string;
/** Everything that the process has written at LOG_LEVEL=trace. */
let written: string;

const emails: string[] = [];
const passwords: string[] = [];
const nonces: string[] = [];
const ringEmails: string[] = [];

beforeAll(async () => {
  world = await createProcessWorld();
  app = await world.startApp();
  await accountsComeAndGo();
  await codesAreExchangedOrNot();
  await linksAreMadeOrNot();
  await requestsAreMalformed();
  dump = await dumpDatabase();
  app.kill('SIGTERM');
  await app.ended;
  written = app.stdout() + app.stderr();
});
afterAll(() => world.stop());

describe('the run that is searched', () => {
  test('has left every kind of row', async () => {
    const count = async (table: string, column: string) =>
      (await world.sql<{ value: string }>(`SELECT DISTINCT ${column} AS value FROM ${table} ORDER BY 1`)).map(
        ({ value }) => value,
      );
    expect(await count('ring_tokens', 'status')).toEqual(['CLAIMED', 'RECEIVED', 'REVOKED', 'UNCLAIMED']);
    expect(await count('account_links', 'status')).toEqual(['COMPLETED', 'CONFIRMING', 'REFUSED']);
    expect(await count('token_exchanges', 'outcome')).toEqual(['FAILED', 'REFUSED', 'STORED', 'UNCERTAIN']);
    expect(await world.sql(`SELECT 1 FROM sessions WHERE sess::text LIKE '%pendingLink%' LIMIT 1`)).toHaveLength(1);
    expect(await world.sql('SELECT 1 FROM graphile_worker.jobs LIMIT 1')).toHaveLength(1);
  });

  test('has been written down request by request', () => {
    for (const [path, status] of [
      ['/ring/token', 200],
      ['/ring/token', 400],
      ['/ring/token', 502],
      ['/ring/token', 503],
      ['/ring/link', 200],
      ['/ring/link', 404],
      ['/sign-in', 401],
      ['/sign-up', 409],
    ] as const) {
      expect(written).toMatch(new RegExp(`"path":"${path}","status":${status}`));
    }
    expect(written).toContain('"level":10');
  });

  test('would give away a secret in any spelling, if there were one', async () => {
    const [token, base64, hex] = ['sim-at-planted', `${NOWHERE}-base64`, `${NOWHERE}-hex`];
    await world.sql('CREATE TABLE planted (as_bytes bytea, as_base64 text, as_json jsonb)');
    await world.sql('INSERT INTO planted VALUES ($1, $2, $3)', [
      Buffer.from(token),
      Buffer.from(base64).toString('base64'),
      { nested: [Buffer.from(hex).toString('hex')] },
    ]);
    const planted = await dumpDatabase();
    await world.sql('DROP TABLE planted');

    expect(planted).toMatch(TOKENS_AND_CODES);
    expect(findings(planted, [base64, hex, NOWHERE])).toEqual([base64, hex, NOWHERE]);
    expect(findings(dump, [NOWHERE])).toEqual([]);
  });
});

describe('the database holds no', () => {
  test('token or code', () => {
    expect(surroundings(dump, TOKENS_AND_CODES)).toBe('');
  });

  test('nonce', () => {
    expect(nonces.length).toBeGreaterThan(5);
    expect(findings(dump, nonces)).toEqual([]);
  });

  test('password', () => {
    expect(findings(dump, passwords)).toEqual([]);
    expect(dump).toContain('$argon2id$');
  });

  test('secret of the configuration', () => {
    expect(findings(dump, secretsOfConfiguration())).toEqual([]);
  });

  test('cookie with which a session could be taken over', async () => {
    const signatures = (await sessionIds()).map((sid) =>
      createHmac('sha256', world.environment.SESSION_SECRET ?? '')
        .update(sid)
        .digest('base64')
        .replace(/=+$/, ''),
    );
    expect(signatures.length).toBeGreaterThan(0);
    expect(findings(dump, signatures)).toEqual([]);
  });

  test('personal data that Ring sent along with the account ID', () => {
    expect(findings(dump, ringEmails)).toEqual([]);
  });
});

describe('the log holds no', () => {
  test('token or code', () => {
    expect(surroundings(written, TOKENS_AND_CODES)).toBe('');
  });

  test('nonce', () => {
    expect(findings(written, nonces)).toEqual([]);
  });

  test('password, nor the hash of one', () => {
    expect(findings(written, [...passwords, '$argon2'])).toEqual([]);
  });

  test('secret of the configuration', () => {
    expect(findings(written, secretsOfConfiguration())).toEqual([]);
  });

  test('session', async () => {
    expect(findings(written, await sessionIds())).toEqual([]);
  });

  test('e-mail address', () => {
    expect(emails.length).toBeGreaterThan(5);
    expect(findings(written, [...emails, ...ringEmails])).toEqual([]);
  });

  test('query string', () => {
    expect(surroundings(written, /[?&](nonce|time|code)=/)).toBe('');
  });
});

/** Sign-up, sign-in and sign-out, and each way in which they fail. */
async function accountsComeAndGo(): Promise<void> {
  const visitor = world.visitor();
  const [email, password] = [newEmail(), newPassword()];
  await visitor.open('/ring/home');
  await visitor.submit('/sign-up', { email: 'not-an-address@', password: newPassword() });
  await visitor.submit('/sign-up', { email: newEmail(), password: 'too-short' });
  await visitor.submit('/sign-up', { email, password });
  await visitor.submit('/sign-out');
  await visitor.submit('/sign-up', { email, password: newPassword() });
  await visitor.submit('/sign-in', { email, password: newPassword() });
  await visitor.submit('/sign-in', { email: newEmail(), password });
  await visitor.submit('/sign-in', { email, password });
  await world.visitor().post('/sign-in', { email: newEmail(), password: newPassword(), _csrf: 'forged' });
  await world.visitor().open(`/sign-in?email=${newEmail()}&password=${newPassword()}`);
}

/** Codes that are good, and codes that Ring answers badly in every way, with secrets in its answers. */
async function codesAreExchangedOrNot(): Promise<void> {
  for (const form of ['json', 'form', 'query'] as const) {
    expect((await world.ring.install(await newRingUser(), form)).callback?.status).toBe(200);
  }
  await deliver('sim-code-that-ring-never-issued');
  for (const fault of [
    answer(400, { error: 'sim-at-in-an-error', error_description: 'sim-rt-in-a-description' }),
    answer(400, { error: 'invalid_grant', error_description: 'The code sim-code-in-a-description is used.' }),
    answer(401, { error: 'invalid_client sim-at-in-an-error' }),
    answer(200, {
      access_token: 'sim-at-of-a-wrong-type',
      refresh_token: 'sim-rt-x',
      token_type: 'mac',
      expires_in: 9,
    }),
    answer(200, {
      access_token: 'sim-at-with a space',
      refresh_token: 'sim-rt-x',
      token_type: 'Bearer',
      expires_in: 9,
    }),
    answer(500, 'Could not store sim-at-in-plain-text'),
    { kind: 'reset' },
    { kind: 'status', status: 429 },
  ]) {
    await world.ring.setFaults([{ endpoint: 'token', fault, times: 1 }]);
    await deliver((await world.ring.issueCode(await newRingUser())).code);
  }
  await world.ring.setFaults([
    { endpoint: 'users-me', times: 1, fault: answer(403, ringError('Forbidden for sim-at-in-a-title')) },
    { endpoint: 'users-me', times: 1, fault: answer(500, 'Could not read sim-at-in-plain-text') },
    { endpoint: 'users-me', times: 1, fault: answer(200, { data: { type: 'users', id: 'sim-at-as an id' } }) },
  ]);
  await identified();
}

/** Links of every outcome; one stays unfinished, one is never begun. */
async function linksAreMadeOrNot(): Promise<void> {
  await world.ring.setFaults([]);
  const linked = await identified();
  const [first, second] = [await linkFor(linked), await linkFor(await identified())];
  expect([first.heading, second.heading]).toEqual(Array(2).fill('Your Ring account is linked'));

  // Ring refuses for good, and quotes the request.
  for (const status of [400, 404]) {
    const ringUser = await identified();
    const fault = answer(status, ringError('Invalid sim-at-in-a-title'));
    await world.ring.setFaults([{ endpoint: 'integration-post', fault }]);
    expect((await linkFor(ringUser)).heading).toBe('Ring did not accept the link');
  }

  const stuck = await identified();
  await world.ring.setFaults([
    { endpoint: 'integration-post', fault: answer(503, ringError('Busy with sim-at-in-a-title')) },
  ]);
  const strangersUrl = await newLinkUrl(linked);
  const forged = new URL(strangersUrl);
  forged.searchParams.set('nonce', kept(nonces, randomBytes(32).toString('base64url')));
  const outcomes = await Promise.all([linkFor(stuck), tryLink(second, strangersUrl), tryLink(first, forged)]);
  expect(outcomes.map(({ page }) => page.status)).toEqual([202, 404, 404]);

  // Two users who have not decided yet.
  await first.open((await newLinkUrl(await identified())).href);
  await world.visitor().open((await newLinkUrl(await identified())).href);
  // A pair whose account is not known yet.
  await world.ring.setFaults([{ endpoint: 'users-me', fault: { kind: 'status', status: 500 } }]);
  await world.ring.install(await newRingUser());
}

/** Secrets at places where they don't belong. */
async function requestsAreMalformed(): Promise<void> {
  const { href, search, searchParams } = await newLinkUrl(await installed());
  const nonce = searchParams.get('nonce') ?? '';
  const visitor = world.visitor();
  for (const address of [
    `${href}&nonce=${nonce}`,
    `/ring/link?nonce=${nonce}`,
    `/ring/link?nonce=${nonce}&time=1`,
    `/ring/link?nonce=${nonce}&time=9999999999999`,
    `/ring/link?nonce=${nonce}!&time=${searchParams.get('time') ?? ''}`,
    `/ring/link?nonce[]=${nonce}`,
    `/ring/link${search.replace('?', '%3F')}`,
    `/ring/home${search}`,
    `/nowhere${search}`,
    `/livez${search}`,
    `/assets/nothing.css${search}`,
    '/ring/token?code=sim-code-in-a-get',
    '/ring/token/sim-code-in-a-path',
    '/%?code=sim-code-in-a-bad-path',
  ]) {
    await visitor.openWithoutRedirects(address);
  }
  for (const [type, body] of [
    ['application/json', '{"code":"sim-code-in-bad-json'],
    ['application/json', '{"code":["sim-code-in-a-list"]}'],
    ['application/json', `{"code":"sim-code-${'x'.repeat(20_000)}"}`],
    ['application/x-www-form-urlencoded', 'code=sim-code-once&code=sim-code-twice'],
    ['text/plain', 'sim-code-in-plain-text'],
    ['application/json; charset=sim-code-charset', '{"code":"sim-code-x"}'],
  ] as const) {
    await fetch(`${world.url}/ring/token?code=sim-code-in-a-query`, {
      method: 'POST',
      body,
      headers: { 'content-type': type },
    });
  }
  await sendRaw(`GET /ring/link?nonce=${nonce} HTTP/1.1\r\nHost localhost\r\n\r\n`);
  await sendRaw(`GET /ring/link?nonce=${nonce}&code=sim-code-in-a-long-line${'x'.repeat(20_000)} HTTP/1.1\r\n\r\n`);
  await sendRaw(
    `POST /ring/token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sim-at-in-a-header\r\n` +
      `Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"code":"sim-code-cut-off`,
  );
}

/** Sends this text and nothing more, and waits until the service closes the connection. */
async function sendRaw(text: string): Promise<void> {
  const socket = connect(Number(world.environment.PORT), '127.0.0.1');
  socket.on('error', () => undefined);
  socket.resume().end(text);
  await once(socket, 'close');
}

const newEmail = (): string => kept(emails, `someone.${randomUUID()}@example.com`);
const newPassword = (): string => kept(passwords, `pass word ${randomUUID()}`);

function kept(list: string[], secret: string): string {
  list.push(secret);
  return secret;
}

const answer = (status: number, body: object | string): Fault['fault'] => ({
  kind: 'body',
  status,
  contentType: 'application/json',
  body: typeof body === 'string' ? body : JSON.stringify(body),
});

const ringError = (title: string) => ({ errors: [{ status: '400', title, detail: `${title}: sim-rt-in-a-detail` }] });

async function newRingUser(): Promise<RingUser> {
  const email = kept(ringEmails, `ring.${randomUUID()}@example.net`);
  return world.ring.createUser({ email, first_name: kept(ringEmails, `Firstname${randomUUID()}`) });
}

async function installed(): Promise<RingUser> {
  const ringUser = await newRingUser();
  await world.ring.install(ringUser);
  return ringUser;
}

/** Installs the app, and waits until the account is known to us. */
async function identified(): Promise<RingUser> {
  const ringUser = await installed();
  await until('the pair is unclaimed', async () => {
    const statement = `SELECT 1 FROM ring_tokens WHERE account_id = $1 AND status = 'UNCLAIMED'`;
    return (await world.sql(statement, [ringUser.account_id])).length === 1;
  });
  return ringUser;
}

async function newLinkUrl(ringUser: RingUser): Promise<URL> {
  const { url, nonce } = await world.ring.linkUrl(ringUser);
  nonces.push(nonce);
  return new URL(url);
}

/** A new user comes from Ring and signs up. */
async function linkFor(ringUser: RingUser): Promise<Visitor> {
  const visitor = world.visitor();
  await visitor.open((await newLinkUrl(ringUser)).href);
  await visitor.submit('/sign-up', { email: newEmail(), password: newPassword() });
  return visitor;
}

async function tryLink(visitor: Visitor, { href }: URL): Promise<Visitor> {
  await visitor.open(href);
  await visitor.submit('/ring/link');
  return visitor;
}

async function deliver(code: string): Promise<void> {
  await fetch(`${world.url}/ring/token`, { method: 'POST', body: new URLSearchParams({ code }) });
}

async function sessionIds(): Promise<string[]> {
  return (await world.sql<Pick<Tables['sessions'], 'sid'>>('SELECT sid FROM sessions')).map(({ sid }) => sid);
}

function secretsOfConfiguration(): string[] {
  const { RING_CLIENT_SECRET, RING_HMAC_KEY, SESSION_SECRET, TOKEN_ENCRYPTION_KEYS, DATABASE_URL } = world.environment;
  const key = TOKEN_ENCRYPTION_KEYS?.split(':')[1] ?? '';
  const { password } = new URL(DATABASE_URL ?? '');
  const secrets = [
    RING_CLIENT_SECRET,
    RING_HMAC_KEY,
    SESSION_SECRET,
    key,
    Buffer.from(key, 'base64').toString('hex'),
    password,
  ];
  return secrets.map((secret) => {
    if (secret === undefined || secret === '') throw new Error('a secret of the configuration is missing');
    return secret;
  });
}

/** Every row of every table, the job engine's included. */
async function dumpDatabase(): Promise<string> {
  const tables = await world.sql<{ name: string }>(
    `SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables
      WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')`,
  );
  const dumps = await Promise.all(
    tables.map(({ name }) => world.sql<{ row: string }>(`SELECT row_to_json(one)::text AS row FROM ${name} one`)),
  );
  return dumps
    .flat()
    .flatMap(({ row }) => [row, ...decoded(row)])
    .join('\n');
}

/** The decoded form of texts that look like hex (as bytea does) or base64. */
function decoded(row: string): string[] {
  const hex = [...row.matchAll(/(?:[0-9a-f]{2}){8,}/gi)].map(([text]) => Buffer.from(text, 'hex'));
  const base64 = [...row.matchAll(/[A-Za-z0-9+/_-]{16,}/g)].map(([text]) => Buffer.from(text, 'base64'));
  return [...hex, ...base64].flatMap((bytes) => [bytes.toString('utf8'), bytes.toString('latin1')]);
}

/** The secrets that occur in the text, in any spelling. */
function findings(text: string, secrets: readonly string[]): string[] {
  return secrets.filter((secret) => {
    const bytes = Buffer.from(secret);
    const spellings = [
      secret,
      encodeURIComponent(secret),
      ...(['hex', 'base64', 'base64url'] as const).map((name) => bytes.toString(name)),
    ];
    return spellings.some((spelling) => text.includes(spelling.replace(/=+$/, '')));
  });
}

/** The first match of the pattern with the text around it; empty if there is none. */
function surroundings(text: string, pattern: RegExp): string {
  const at = text.search(pattern);
  return at === -1 ? '' : text.slice(Math.max(0, at - 150), at + 80);
}
