import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { type Config, ConfigError, readConfig } from '../../src/configuration/config.js';
import { spawnApp } from '../support/worlds/process.js';

const KEY = randomBytes(32).toString('base64');

/** All variables that production requires. */
const PRODUCTION = {
  NODE_ENV: 'production',
  PUBLIC_URL: 'https://link.example.com',
  DATABASE_URL: 'postgres://user:password@db.example.com/linking',
  RING_CLIENT_ID: 'the-client-id',
  RING_CLIENT_SECRET: 'the-client-secret',
  RING_HMAC_KEY: 'the-hmac-key',
  SESSION_SECRET: 'a session secret of 32 characters',
  TOKEN_ENCRYPTION_KEYS: `2026a:${KEY}`,
};

const REQUIRED = Object.keys(PRODUCTION).filter((name) => name !== 'NODE_ENV');

const read = (changes: Record<string, string | undefined> = {}): Config => readConfig({ ...PRODUCTION, ...changes });

function problemsOf(environment: Record<string, string | undefined>): readonly string[] {
  try {
    readConfig(environment);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

/** The single problem with this value of this variable. */
function problemOf(name: string, value: string | undefined): string {
  const problems = problemsOf({ ...PRODUCTION, [name]: value });
  expect(problems).toHaveLength(1);
  const [problem = ''] = problems;
  expect(problem).toMatch(new RegExp(`^${name}: .*expected .+`));
  expect(problem).not.toContain('\n');
  return problem;
}

describe('in production', () => {
  test('an empty environment is answered with a line for each variable that is missing', () => {
    const problems = problemsOf({ NODE_ENV: 'production' });

    expect(problems.map((problem) => problem.split(':')[0]).sort()).toEqual([...REQUIRED].sort());
    for (const problem of problems) expect(problem).toMatch(/^[A-Z_]+: missing; expected .+/);
  });

  test.each(REQUIRED)('%s is missed when it is not there, and when it is empty', (name) => {
    expect(problemOf(name, undefined)).toContain('missing');
    expect(problemOf(name, '')).toBe(problemOf(name, undefined));
  });

  test('the simulator stays off, and Ring is the real one', () => {
    expect(read()).toMatchObject({
      production: true,
      simulator: false,
      ring: { oauthUrl: 'https://oauth.ring.com', apiUrl: 'https://api.amazonvision.com' },
    });
  });

  test('the simulator starts when it is asked for', () => {
    expect(read({ RING_SIMULATOR: 'on' }).simulator).toBe(true);
  });

  test('browsers come over https', () => {
    expect(problemOf('PUBLIC_URL', 'http://link.example.com')).toContain('https://');
  });
});

describe('a variable that is not given', () => {
  test('has the documented default', () => {
    expect(read()).toMatchObject({
      port: 3000,
      unclaimedTtlSeconds: 600,
      linkClockSkewSeconds: 5,
      auditRetentionDays: 365,
      rateLimitScale: 1,
      trustProxy: 0,
      subscriptionRequired: false,
      subscriptionExempt: [],
      stunUrls: [],
      logLevel: 'info',
    });
    expect(read().metricsToken).toBeUndefined();
  });

  test.each([
    'PORT',
    'RING_OAUTH_URL',
    'RING_API_URL',
    'UNCLAIMED_TTL_SECONDS',
    'LINK_CLOCK_SKEW_SECONDS',
    'AUDIT_RETENTION_DAYS',
    'RATE_LIMIT_SCALE',
    'RING_SIMULATOR',
    'TRUST_PROXY',
    'METRICS_TOKEN',
    'SUBSCRIPTION_REQUIRED',
    'SUBSCRIPTION_EXEMPT',
    'STUN_URLS',
    'LOG_LEVEL',
  ])('an empty %s counts as not given', (name) => {
    expect(read({ [name]: '' })).toEqual(read());
  });
});

describe('a variable that is given', () => {
  test('arrives', () => {
    const config = read({
      PORT: '8080',
      RING_OAUTH_URL: 'https://ring.test:1/',
      RING_API_URL: 'https://ring.test/api',
      UNCLAIMED_TTL_SECONDS: '900',
      LINK_CLOCK_SKEW_SECONDS: '0',
      AUDIT_RETENTION_DAYS: '90',
      RATE_LIMIT_SCALE: '2.5',
      METRICS_TOKEN: 'sixteen characters',
      SUBSCRIPTION_REQUIRED: 'device',
      SUBSCRIPTION_EXEMPT: 'Reviewer@Example.com, another@example.com,reviewer@example.com',
      STUN_URLS: 'stun:stun.example.com, stun:192.0.2.1:3478,stun:[2001:db8::1]:19302',
      LOG_LEVEL: 'trace',
    });

    expect(config).toMatchObject({
      port: 8080,
      publicUrl: 'https://link.example.com',
      databaseUrl: PRODUCTION.DATABASE_URL,
      ring: {
        clientId: 'the-client-id',
        clientSecret: 'the-client-secret',
        hmacKey: 'the-hmac-key',
        oauthUrl: 'https://ring.test:1',
        apiUrl: 'https://ring.test/api',
      },
      sessionSecret: PRODUCTION.SESSION_SECRET,
      unclaimedTtlSeconds: 900,
      linkClockSkewSeconds: 0,
      auditRetentionDays: 90,
      rateLimitScale: 2.5,
      metricsToken: 'sixteen characters',
      subscriptionRequired: true,
      subscriptionExempt: ['reviewer@example.com', 'another@example.com'],
      stunUrls: ['stun:stun.example.com', 'stun:192.0.2.1:3478', 'stun:[2001:db8::1]:19302'],
      logLevel: 'trace',
    });
  });

  test.each([
    ['PORT', ['0', '65536', '-1', '3000.5', '0x50', '3000 ', 'http', '1e3', '999999999999']],
    ['PUBLIC_URL', ['link.example.com', 'ftp://link.example.com', 'https://', 'https://a.example/path', '//a.example']],
    ['DATABASE_URL', ['mysql://db/linking', 'db.example.com', 'postgres', 'https://db.example.com/linking']],
    ['RING_OAUTH_URL', ['oauth.ring.com', 'ftp://oauth.ring.com', 'http://oauth.ring.com', 'https://']],
    ['RING_API_URL', ['api.amazonvision.com', 'file:///etc/passwd', 'http://api.amazonvision.com']],
    ['SESSION_SECRET', ['short', 'x'.repeat(31)]],
    ['UNCLAIMED_TTL_SECONDS', ['599', '901', '10m', '600.5', '-600']],
    ['LINK_CLOCK_SKEW_SECONDS', ['-1', '5s', '2.5', '601']],
    ['AUDIT_RETENTION_DAYS', ['0', '-1', '1.5', '36501', 'forever']],
    ['RATE_LIMIT_SCALE', ['0', '0.0', '-1', 'Infinity', 'NaN', 'lots']],
    ['RING_SIMULATOR', ['yes', 'ON', 'true', '1']],
    ['TRUST_PROXY', ['true', 'yes', '*', '-1', '1.5', '10.0.0.0/33', '10.0.0.0/', '::1/129', '10.0.0.1,', 'proxy']],
    ['METRICS_TOKEN', ['short']],
    ['SUBSCRIPTION_REQUIRED', ['on', 'true', 'account', 'Device']],
    ['SUBSCRIPTION_EXEMPT', ['somebody', 'a@example.com,', 'a@example.com;b@example.com', 'a@', '*@example.com,*']],
    [
      'STUN_URLS',
      [
        'stun.elsewhere.net',
        'stuns:stun.example.com',
        'turn:turn.example.com',
        'stun://stun.example.com',
        'stun:stun.example.com:65536',
        'stun:stun.example.com:0',
        'stun:[2001:db8::1]:00',
        'stun:user@stun.example.com',
        'stun:stun.example.com?transport=udp',
        'stun:a.example,turn:b.example',
        'stun:a.example,',
        'stun:a.example,stun:b.example,stun:c.example,stun:d.example,stun:e.example',
      ],
    ],
    ['LOG_LEVEL', ['verbose', 'INFO', 'warning']],
  ])('a bad %s is named on one line, with what was expected and without its value', (name, values) => {
    for (const value of values) {
      const problem = problemOf(name, value);
      // Shorter values are also words of the sentence that says what was expected.
      if (value.length > 8) expect(problem).not.toContain(value);
    }
  });

  test('a public URL that is neither https nor an origin is one problem, not two', () => {
    problemOf('PUBLIC_URL', 'http://link.example.com/some/path');
  });

  test.each(['https://link.example.com:443', 'https://LINK.example.com', 'https://link.example.com/'])(
    'the public URL %s is the origin that browsers make of it',
    (value) => {
      expect(read({ PUBLIC_URL: value }).publicUrl).toBe('https://link.example.com');
    },
  );

  test.each([
    'postgresql://user:password@db.example.com:5433/linking?sslmode=require',
    'postgres:///linking?host=/var/run/postgresql',
    'postgres://user@localhost/linking',
  ])('%s is a database', (value) => {
    expect(read({ DATABASE_URL: value }).databaseUrl).toBe(value);
  });

  test.each<[string, number | string[]]>([
    ['0', 0],
    ['2', 2],
    ['10.0.0.0/8', ['10.0.0.0/8']],
    ['10.1.2.3, ::1', ['10.1.2.3', '::1']],
    ['loopback,fd00::/8', ['loopback', 'fd00::/8']],
  ])('TRUST_PROXY=%s trusts these proxies', (value, expected) => {
    expect(read({ TRUST_PROXY: value }).trustProxy).toEqual(expected);
  });

  test('several bad variables are all named at once', () => {
    const problems = problemsOf({ ...PRODUCTION, PORT: 'http', LOG_LEVEL: 'loud', SESSION_SECRET: undefined });
    expect(problems.map((problem) => problem.split(':')[0]).sort()).toEqual(['LOG_LEVEL', 'PORT', 'SESSION_SECRET']);
  });
});

describe('the encryption keys', () => {
  const other = randomBytes(32);

  test('are as many as are given, in their order', () => {
    const config = read({ TOKEN_ENCRYPTION_KEYS: `new:${other.toString('base64')},old:${KEY}` });
    expect(config.encryptionKeys).toEqual([
      { id: 'new', key: other },
      { id: 'old', key: Buffer.from(KEY, 'base64') },
    ]);
  });

  test.each([
    ['without an id', KEY],
    ['with an empty id', `:${KEY}`],
    ['too short', `a:${randomBytes(31).toString('base64')}`],
    ['too long', `a:${randomBytes(33).toString('base64')}`],
    ['in hex', `a:${other.toString('hex')}`],
    ['with the same id twice', `a:${KEY},a:${other.toString('base64')}`],
    ['with a comma at the end', `a:${KEY},`],
    ['good first, bad second', `a:${KEY},b:nonsense-nonsense`],
  ])('are refused %s, and not a word of them is repeated', (_what, value) => {
    const problem = problemOf('TOKEN_ENCRYPTION_KEYS', value);
    expect(problem).toContain('id:base64-of-32-bytes');
    for (const part of value.split(/[:,]/).filter((text) => text.length > 2)) expect(problem).not.toContain(part);
  });
});

describe('outside production', () => {
  const { PUBLIC_URL, DATABASE_URL, NODE_ENV, ...development } = PRODUCTION;

  test('the public URL is the local one, and there need be no database', () => {
    const config = readConfig({ ...development, PORT: '4000' });
    expect(config).toMatchObject({ production: false, publicUrl: 'http://localhost:4000', simulator: false });
    expect(config.databaseUrl).toBeUndefined();
    expect([PUBLIC_URL, DATABASE_URL, NODE_ENV]).not.toContain(undefined);
  });

  test.each(['RING_CLIENT_ID', 'RING_CLIENT_SECRET', 'RING_HMAC_KEY'])(
    'the simulator does not step in if only %s is missing',
    (name) => {
      const environment = { ...development, [name]: undefined };
      expect(problemsOf(environment).map((problem) => problem.split(':')[0])).toEqual([name]);
    },
  );

  test('with the simulator on, Ring is the simulator, one port further', () => {
    expect(readConfig({ ...development, PORT: '4000', RING_SIMULATOR: 'on' })).toMatchObject({
      simulator: true,
      ring: { oauthUrl: 'http://127.0.0.1:4001', apiUrl: 'http://127.0.0.1:4001' },
    });
  });
});

describe('the process', () => {
  const dataDir = fileURLToPath(new URL('../../../.data/', import.meta.url));

  async function run(environment: Record<string, string>) {
    const app = spawnApp(environment);
    const ended = await app.ended;
    return { ...ended, stdout: app.stdout(), lines: app.stderr().trimEnd().split('\n') };
  }

  test('ends with 1 in an empty production environment, names each variable on a line, and starts nothing', async () => {
    const hadData = existsSync(dataDir);
    const ended = await run({ NODE_ENV: 'production' });

    expect(ended).toMatchObject({ code: 1, signal: null, stdout: '' });
    expect(ended.lines.map((line) => line.split(':')[0]).sort()).toEqual([...REQUIRED].sort());
    expect(existsSync(dataDir)).toBe(hadData);
  });

  test('ends with 1 and a line for each bad variable, and repeats no secret', async () => {
    const ended = await run({
      ...PRODUCTION,
      SESSION_SECRET: 'too-short-a-secret',
      TOKEN_ENCRYPTION_KEYS: 'a:not-a-key-at-all',
      DATABASE_URL: 'mysql://user:database-password@db/linking',
      METRICS_TOKEN: 'tiny-token',
    });

    expect(ended).toMatchObject({ code: 1, signal: null, stdout: '' });
    const names = ['SESSION_SECRET', 'TOKEN_ENCRYPTION_KEYS', 'DATABASE_URL', 'METRICS_TOKEN'];
    expect(ended.lines.map((line) => line.split(':')[0]).sort()).toEqual(names.sort());
    expect(ended.lines.join('\n')).not.toMatch(/too-short|not-a-key|database-password|tiny-token/);
  });
});
