import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { availableParallelism } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { migrateToLatest } from '../src/database/migrate.js';
import { createPasswords } from '../src/users/passwords.js';
import { send } from '../test/support/clients/http.js';
import { hiddenFields } from '../test/support/clients/visitor.js';
import { HMAC_KEY } from './load.js';
import { printTable, timed } from './report.js';
import { startServer } from './servers.js';

const PEOPLE = 400;
const PASSWORD = 'correct horse battery staple';
/** The longest that Ring may wait meanwhile, in ms. */
const LIMIT_MS = 1_000;
/** How often Ring calls, in ms between two calls, and for how long it is watched before the crowd comes. */
const EVERY_MS = { token: 100, webhook: 40 };
const QUIET_MS = 5_000;
const APP = fileURLToPath(new URL('../src/main.js', import.meta.url));

/** Measures how long Ring waits for its answers while a crowd signs in, beside how long it waits before. */
export async function benchCrowd(server: string, directory: string): Promise<void> {
  const databaseUrl = await createDatabase(server);
  const ring = await startRing();
  await insertPeople(databaseUrl);
  const app = await startServer({
    name: 'crowded',
    entry: APP,
    environment: environment(databaseUrl, ring),
    directory,
  });
  const origin = `http://127.0.0.1:${app.port}`;
  try {
    const people = await openPages(origin);
    await watch(origin, () => delay(QUIET_MS / 5));
    const before = await watch(origin, () => delay(QUIET_MS));
    const outcomes: Outcome[] = [];
    let seconds = 0;
    const meanwhile = await watch(origin, async () => {
      seconds = (await timed(async () => outcomes.push(...(await Promise.all(people.map(signIn)))))) / 1_000;
    });
    const refusals = outcomes.reduce((sum, { refusals: count }) => sum + count, 0);
    printTable(
      `${PEOPLE} people sign in at once, on ${availableParallelism()} cores; who is answered 503 tries again as Retry-After says`,
      ['signed in', 'answered 503', 'median s', 'all after s'],
      [
        [
          `${outcomes.filter(({ isSignedIn }) => isSignedIn).length}`,
          `${refusals}`,
          percentile(
            outcomes.map((outcome) => outcome.seconds),
            0.5,
          ).toFixed(1),
          seconds.toFixed(1),
        ],
      ],
    );
    printTable(
      'How long Ring waits for its answers',
      ['', 'before: median ms', 'p99 ms', 'meanwhile: median ms', 'p99 ms', 'at most ms', 'p99 to before', 'not 200'],
      (['/ring/token', '/webhooks/ring'] as const).map((path) => row(path, before[path], meanwhile[path])),
    );
    const slowest = Object.values(meanwhile).map(({ times }) => percentile(times, 0.99));
    if (Math.max(...slowest) > LIMIT_MS) process.exitCode = 1;
  } finally {
    await app.stop();
    ring.close();
    ring.closeAllConnections();
  }
}

function row(path: string, before: Answers, meanwhile: Answers): string[] {
  const figures = ({ times }: Answers) => [percentile(times, 0.5).toFixed(1), percentile(times, 0.99).toFixed(1)];
  const ratio = percentile(meanwhile.times, 0.99) / percentile(before.times, 0.99);
  const others = before.others + meanwhile.others;
  return [path, ...figures(before), ...figures(meanwhile), `${LIMIT_MS}`, ratio.toFixed(1), `${others}`];
}

interface Answers {
  /** In ms. */
  times: number[];
  /** How many were not 200. */
  others: number;
}

/** Calls as Ring does, at a steady pace whether or not it is answered, until the work is done. */
async function watch(origin: string, work: () => Promise<unknown>): Promise<Record<Path, Answers>> {
  const answers = { '/ring/token': { times: [], others: 0 }, '/webhooks/ring': { times: [], others: 0 } };
  const underWay: Promise<void>[] = [];
  const call = (path: Path, request: () => RequestInit) => async () => {
    const answer: Answers = answers[path];
    const startedAt = performance.now();
    const response = await fetch(origin + path, { method: 'POST', ...request() });
    await response.arrayBuffer();
    answer.times.push(performance.now() - startedAt);
    if (response.status !== 200) answer.others++;
  };
  const token = call('/ring/token', () => ({ body: new URLSearchParams({ code: randomUUID() }) }));
  const webhook = call('/webhooks/ring', newWebhook);
  const timers = [
    setInterval(() => underWay.push(token()), EVERY_MS.token),
    setInterval(() => underWay.push(webhook()), EVERY_MS.webhook),
  ];
  await work();
  for (const timer of timers) clearInterval(timer);
  await Promise.all(underWay);
  return answers;
}

type Path = '/ring/token' | '/webhooks/ring';

function newWebhook(): RequestInit {
  const now = Date.now();
  const body = JSON.stringify({
    meta: { version: '1.1', time: new Date(now).toISOString(), request_id: randomUUID(), account_id: randomUUID() },
    data: {
      id: randomUUID(),
      type: 'button_press',
      attributes: { source: 'bench-door', source_type: 'devices', timestamp: now },
      relationships: { devices: { links: { self: '/v1/devices/bench-door' } } },
    },
  });
  const signature = `sha256=${createHmac('sha256', HMAC_KEY).update(body).digest('hex')}`;
  return { body, headers: { 'content-type': 'application/json', 'x-signature': signature } };
}

/** Somebody with the sign-in form before them. */
interface Person {
  origin: string;
  headers: Record<string, string>;
  cookie: string;
  form: Record<string, string>;
}

interface Outcome {
  isSignedIn: boolean;
  /** How often the answer was 503. */
  refusals: number;
  seconds: number;
}

async function signIn({ origin, ...request }: Person): Promise<Outcome> {
  const startedAt = performance.now();
  for (let refusals = 0; ; refusals++) {
    const { status, headers } = await send(origin, '/sign-in', request);
    if (status !== 503)
      return { isSignedIn: status === 303, refusals, seconds: (performance.now() - startedAt) / 1_000 };
    await delay(Number(headers.get('retry-after') ?? 1) * 1_000);
  }
}

const emailOf = (index: number): string => `person.${index}@example.com`;

async function openPages(origin: string): Promise<Person[]> {
  const people: Person[] = [];
  for (let index = 0; index < PEOPLE; index++) {
    const headers = { 'x-forwarded-for': `10.0.${Math.floor(index / 256)}.${index % 256}` };
    const { cookie = '', text } = await send(origin, '/ring/home', { headers });
    const form = { ...hiddenFields(text, '/sign-in'), email: emailOf(index), password: PASSWORD };
    people.push({ origin, headers, cookie, form });
  }
  return people;
}

/** Inserts the users directly. One hash serves all, because only verifying it is measured. */
async function insertPeople(databaseUrl: string): Promise<void> {
  const passwords = createPasswords();
  const hash = await passwords.hash(PASSWORD);
  await passwords.close();
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  await client.query(
    'INSERT INTO users (email, password_hash, created_at) SELECT email, $2, now() FROM unnest($1::text[]) AS email',
    [Array.from({ length: PEOPLE }, (_, index) => emailOf(index)), hash],
  );
  await client.end();
}

async function createDatabase(server: string): Promise<string> {
  const client = new pg.Client({ connectionString: server });
  await client.connect();
  await client.query('CREATE DATABASE crowd');
  await client.end();
  const url = new URL(server);
  url.pathname = '/crowd';
  await migrateToLatest(url.href);
  return url.href;
}

/** A Ring that answers at once: each code is a pair, and each pair another account's. */
async function startRing(): Promise<HttpServer> {
  const ring = createServer((request, response) => {
    request.resume();
    const answer =
      request.url === '/oauth/token'
        ? {
            access_token: randomUUID(),
            refresh_token: randomUUID(),
            scope: '',
            expires_in: 14_400,
            token_type: 'Bearer',
          }
        : { data: { type: 'users', id: `ava1.ring.account.${randomUUID()}`, attributes: {} } };
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  }).listen(0, '127.0.0.1');
  await once(ring, 'listening');
  return ring;
}

function environment(databaseUrl: string, ring: HttpServer): Record<string, string> {
  const ringUrl = `http://127.0.0.1:${(ring.address() as AddressInfo).port}`;
  return {
    DATABASE_URL: databaseUrl,
    RING_HMAC_KEY: HMAC_KEY,
    RING_CLIENT_ID: 'bench',
    RING_CLIENT_SECRET: 'bench',
    RING_OAUTH_URL: ringUrl,
    RING_API_URL: ringUrl,
    RING_SIMULATOR: 'off',
    SESSION_SECRET: randomBytes(32).toString('hex'),
    TOKEN_ENCRYPTION_KEYS: `bench:${randomBytes(32).toString('base64')}`,
    // Each person has an address. Ring has one, which is limited to fewer calls than are made here.
    TRUST_PROXY: '1',
    RATE_LIMIT_SCALE: '10',
    LOG_LEVEL: 'fatal',
  };
}

function percentile(times: readonly number[], share: number): number {
  return [...times].sort((a, b) => a - b)[Math.floor((times.length - 1) * share)] ?? Number.NaN;
}
