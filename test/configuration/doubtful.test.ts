import { randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { ConfigError, readConfig } from '../../src/configuration/config.js';
import { readProjectFile } from '../support/inspection/documents.js';
import { spawnApp } from '../support/worlds/process.js';

const KEY = randomBytes(32).toString('base64');

const PRODUCTION = {
  NODE_ENV: 'production',
  PUBLIC_URL: 'https://link.example.com',
  DATABASE_URL: 'postgres://user:password@db.example.com/linking',
  RING_CLIENT_ID: 'the-client-id',
  RING_CLIENT_SECRET: 'the-client-secret',
  RING_HMAC_KEY: 'the-hmac-key',
  SESSION_SECRET: 'a session secret of 32 characters',
  TOKEN_ENCRYPTION_KEYS: `2026a:${KEY}`,
  TRUST_PROXY: '1',
  METRICS_TOKEN: 'a-token-for-metrics',
};

/** The same outside production. */
const TRIAL = { ...PRODUCTION, NODE_ENV: 'development' };

function problemsOf(environment: Record<string, string | undefined>): readonly string[] {
  try {
    readConfig(environment);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

/** The names that are complained about, each on a line of its own that says what was expected. */
function namesIn(problems: readonly string[]): string[] {
  for (const problem of problems) expect(problem).toMatch(/^[\w.-]+: [^\n]*expected [^\n]+$/);
  return problems.map((problem) => problem.split(':')[0] ?? '').sort();
}

/** The variables that take any text, and stand for all: the same is done with every value. */
const TEXTS = ['RING_CLIENT_ID', 'RING_CLIENT_SECRET', 'RING_HMAC_KEY', 'SESSION_SECRET', 'METRICS_TOKEN'] as const;

describe('what is around a value by mistake is dropped', () => {
  const around: [string, (value: string) => string][] = [
    ['a newline', (value) => `${value}\n`],
    ['a carriage return', (value) => `${value}\r\n`],
    ['spaces and tabs', (value) => ` \t${value} `],
    ['double quotation marks', (value) => `"${value}"`],
    ['single quotation marks', (value) => `'${value}'`],
    ['marks of a word processor', (value) => `“${value}”`],
    ['quotation marks in quotation marks, and spaces', (value) => ` '" ${value}" '\n`],
    ['a byte order mark and a no-break space', (value) => `\uFEFF${value}\u00A0`],
    ['a zero-width space', (value) => `\u200B${value}\u200B`],
  ];

  test.each(around)('%s', (_what, wrap) => {
    const wrapped = Object.fromEntries(Object.entries(PRODUCTION).map(([name, value]) => [name, wrap(value)]));
    expect(readConfig(wrapped)).toEqual(readConfig(PRODUCTION));
  });

  test('a value of nothing else is not given', () => {
    expect(namesIn(problemsOf({ ...PRODUCTION, RING_HMAC_KEY: ' ""\n' }))).toEqual(['RING_HMAC_KEY']);
    expect(problemsOf({ ...PRODUCTION, RING_HMAC_KEY: ' ""\n' })[0]).toContain('missing');
  });

  test('what is within it stays', () => {
    const config = readConfig({ ...PRODUCTION, SESSION_SECRET: `it's "quoted" and long enough to pass!` });
    expect(config.sessionSecret).toBe(`it's "quoted" and long enough to pass!`);
  });
});

describe('a value that can not be meant is refused, in production and outside,', () => {
  test.each([
    ['a line break within it', 'first-half\nsecond-half-of-a-long-enough-secret'],
    ['an invisible mark within it', 'first-half\u200Bsecond-half-of-a-long-enough-secret'],
    ['three dots', '...'],
    ['an ellipsis', '…'],
    ['what a document leaves open', '<the-value-of-this-variable-from-the-console>'],
    ['a variable that nobody put in', '${THE_SECRET_OF_THIS_SERVICE_IN_THE_STORE}'],
    ['a variable without braces', '$THE_SECRET_OF_THIS_SERVICE_IN_THE_STORE'],
    ['what a template leaves open', '{{ .Values.theSecretOfThisServiceInTheStore }}'],
    ['changeme', 'changeme'],
    ['a longer one', 'CHANGE-ME-before-you-go-to-production-please'],
    ['what to replace', 'replace_with_32_random_characters_or_more'],
    ['whose it is', 'your-ring-client-secret-from-the-console'],
    ['xxx', 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'],
    ['todo', 'TODO'],
    ['null', 'null'],
  ])('for it is a placeholder or damaged: %s', (_what, value) => {
    for (const environment of [PRODUCTION, TRIAL]) {
      for (const name of TEXTS) {
        const problems = problemsOf({ ...environment, [name]: value });
        expect(namesIn(problems)).toEqual([name]);
        if (value.length > 8) expect(problems.join()).not.toContain(value);
      }
    }
  });

  test.each(['"abcdefghijkl', `abcdefghijkl'`, 'abcdefghijkl”'])(
    'for %s has lost the other quotation mark',
    (value) => {
      for (const name of ['RING_CLIENT_ID', 'RING_CLIENT_SECRET', 'RING_HMAC_KEY']) {
        expect(namesIn(problemsOf({ ...PRODUCTION, [name]: value }))).toEqual([name]);
      }
    },
  );

  test.each([
    'postgres://user:<password>@db.example.com/linking',
    'postgres://user:…@db.example.com/linking',
    'postgres://user:changeme@db.example.com/linking',
    'postgres://${DB_USER}:secret-1@db.example.com/linking',
    'postgres://user:secret-1@your-host/linking',
  ])('for a placeholder is in it: %s', (value) => {
    expect(namesIn(problemsOf({ ...PRODUCTION, DATABASE_URL: value }))).toEqual(['DATABASE_URL']);
  });
});

describe('secrets that are none are refused in production', () => {
  const compose = readProjectFile('docker-compose.yml');
  const published = [
    ...compose.matchAll(/^ +(RING_CLIENT\w+|RING_HMAC_KEY|SESSION_SECRET|TOKEN_\w+|DATABASE_URL): (.+)$/gm),
  ];

  test('such as each that stands in docker-compose.yml', () => {
    expect(published).toHaveLength(6);
    for (const [, name = '', value = ''] of published) {
      expect(namesIn(problemsOf({ ...PRODUCTION, [name]: value }))).toEqual([name]);
      expect(problemsOf({ ...TRIAL, [name]: value })).toEqual([]);
    }
  });

  test.each([
    ['one letter', 'k'.repeat(40)],
    ['a few letters', 'ab'.repeat(10) + 'ba'.repeat(10)],
    ['a word again and again', 'supersecret'.repeat(4)],
    ['digits in a row', '1234567890'.repeat(4)],
    ['an alphabet', 'abcdefghijklmnopqrstuvwxyz0123456789'],
  ])('such as %s', (_what, value) => {
    for (const name of ['RING_CLIENT_SECRET', 'RING_HMAC_KEY', 'SESSION_SECRET', 'METRICS_TOKEN']) {
      const problems = problemsOf({ ...PRODUCTION, [name]: value });
      expect(namesIn(problems)).toEqual([name]);
      expect(problems.join()).not.toContain(value);
      expect(problemsOf({ ...TRIAL, [name]: value })).toEqual([]);
    }
  });

  test('such as a signing key of one letter', () => {
    expect(namesIn(problemsOf({ ...PRODUCTION, RING_HMAC_KEY: 'k' }))).toEqual(['RING_HMAC_KEY']);
  });

  const keys: [string, Buffer][] = [
    ['zeros', Buffer.alloc(32)],
    ['one byte', Buffer.alloc(32, 0xff)],
    ['zeros and a one', Buffer.concat([Buffer.alloc(31), Buffer.of(1)])],
    ['all bytes in a row', Buffer.from(Array.from({ length: 32 }, (_, index) => index))],
    ['a word again and again', Buffer.from('changeme'.repeat(4))],
  ];
  test.each(keys)(
    'such as an encryption key of %s, unless it stands behind another to be rotated away',
    (_what, key) => {
      const weak = `weak:${key.toString('base64')}`;
      expect(namesIn(problemsOf({ ...PRODUCTION, TOKEN_ENCRYPTION_KEYS: weak }))).toEqual(['TOKEN_ENCRYPTION_KEYS']);
      expect(namesIn(problemsOf({ ...PRODUCTION, TOKEN_ENCRYPTION_KEYS: `${weak},new:${KEY}` }))).toEqual([
        'TOKEN_ENCRYPTION_KEYS',
      ]);
      expect(problemsOf({ ...PRODUCTION, TOKEN_ENCRYPTION_KEYS: `new:${KEY},${weak}` })).toEqual([]);
      expect(problemsOf({ ...TRIAL, TOKEN_ENCRYPTION_KEYS: weak })).toEqual([]);
    },
  );

  test('and what openssl makes is taken, each time', () => {
    for (let round = 0; round < 200; round++) {
      const environment = {
        ...PRODUCTION,
        RING_CLIENT_SECRET: randomBytes(10).toString('hex'),
        RING_HMAC_KEY: randomBytes(16).toString('base64'),
        SESSION_SECRET: randomBytes(32).toString('base64'),
        METRICS_TOKEN: randomBytes(16).toString('hex'),
        TOKEN_ENCRYPTION_KEYS: `2026a:${randomBytes(32).toString('base64')}`,
      };
      expect(problemsOf(environment)).toEqual([]);
    }
  });
});

describe('a variable that looks like a misspelt one is named, with the one that was meant:', () => {
  test.each([
    ['TRUST_PROXI', 'TRUST_PROXY'],
    ['TRUSTED_PROXIES', 'TRUST_PROXY'],
    ['trust_proxy', 'TRUST_PROXY'],
    ['METRIC_TOKEN', 'METRICS_TOKEN'],
    ['DATABASE_URI', 'DATABASE_URL'],
    ['DATABSAE_URL', 'DATABASE_URL'],
    ['PUBLIC-URL', 'PUBLIC_URL'],
    ['LOGLEVEL', 'LOG_LEVEL'],
    ['AUDIT_RETENTION_DAY', 'AUDIT_RETENTION_DAYS'],
    ['STUN_URL', 'STUN_URLS'],
    ['RATE_LIMITS_SCALE', 'RATE_LIMIT_SCALE'],
    ['UNCLAIMED_TTL_SECS', 'UNCLAIMED_TTL_SECONDS'],
    ['RING_HMACKEY', 'RING_HMAC_KEY'],
    ['RING_HMAC_KEYS', 'RING_HMAC_KEY'],
    ['TOKEN_ENCRYPTION_KEY', 'TOKEN_ENCRYPTION_KEYS'],
    ['SESSION_SECERT', 'SESSION_SECRET'],
  ])('%s', (name, meant) => {
    const problems = problemsOf({ ...PRODUCTION, [meant]: undefined, [name]: 'a value that is not repeated' });
    const told = problems.find((problem) => problem.startsWith(`${name}: `));
    expect(namesIn([told ?? ''])).toEqual([name]);
    expect(told).toMatch(new RegExp(`expected ${meant}\\b`));
    expect(told).not.toContain('not repeated');
  });

  test.each(['RING_SECRET', 'RING_HMAC_KEY_FILE', 'SESSION_KEY', 'TOKEN_KEYS'])('%s begins as ours do', (name) => {
    expect(namesIn(problemsOf({ ...PRODUCTION, [name]: 'some value' }))).toEqual([name]);
  });

  test('those of other programs are let alone', () => {
    const others = {
      PATH: '/bin',
      HOSTNAME: 'ring-link-7d9f',
      NODE_VERSION: '22.20.0',
      NODE_OPTIONS: '--max-old-space-size=512',
      NODE_EXTRA_CA_CERTS: '/etc/ssl/extra.pem',
      npm_config_loglevel: 'warn',
      npm_package_name: 'ring-account-linking',
      DATABASE_USER: 'somebody',
      DATABASE_URI: 'set beside DATABASE_URL, for another program',
      LOGS_LEVEL_OF_OTHERS: 'loud',
      HTTPS_PROXY: 'http://proxy.example.com:3128',
      AWS_SESSION_TOKEN: 'of-aws',
      XDG_SESSION_TYPE: 'wayland',
      RING_PLAYGROUND_TOKEN: 'of-a-command',
      RING_LINK_SERVICE_HOST: '10.0.0.1',
      RING_LINK_SERVICE_PORT: '3000',
      RING_LINK_SERVICE_PORT_HTTP: '3000',
      RING_LINK_PORT: 'tcp://10.0.0.1:3000',
      RING_LINK_PORT_3000_TCP: 'tcp://10.0.0.1:3000',
      RING_LINK_PORT_3000_TCP_ADDR: '10.0.0.1',
      SESSION_SERVICE_HOST: '10.0.0.2',
      RING_HMAC_KY: '',
    };
    expect(problemsOf({ ...PRODUCTION, ...others })).toEqual([]);
  });

  test('a desktop has a session manager, which is no mistake outside production', () => {
    expect(problemsOf({ ...TRIAL, SESSION_MANAGER: 'local/desktop:@/tmp/.ICE-unix/1', TOKEN_OF_CI: 'x' })).toEqual([]);
  });
});

test('a NODE_ENV that is none is judged as production, and all that is missing for it is told as well', () => {
  expect(namesIn(problemsOf({ ...PRODUCTION, NODE_ENV: 'prod', TRUST_PROXY: undefined }))).toEqual([
    'NODE_ENV',
    'TRUST_PROXY',
  ]);
});

test('the process ends with 1 and says all of it at once, without a secret', async () => {
  const secrets = {
    RING_CLIENT_SECRET: 'changeme-with-a-secret',
    RING_HMAC_KEY: 'zzzzzzzzzzzz',
    SESSION_SECRET: 'half-a-secret\nand-the-other-half-of-it',
    TOKEN_ENCRYPTION_KEYS: `2026a:${Buffer.alloc(32).toString('base64')}`,
    DATABASE_URL: 'postgres://user:pass/word-1@db.example.com/linking',
    TRUST_PROXY: 'true',
    METRICS_TOKEN: '',
  };
  const app = spawnApp({ ...PRODUCTION, ...secrets, RING_HMAC_KY: 'a-value-behind-a-wrong-name' });
  const ended = await app.ended;

  expect(ended).toEqual({ code: 1, signal: null });
  expect(app.stdout()).toBe('');
  expect(namesIn(app.stderr().trimEnd().split('\n'))).toEqual([...Object.keys(secrets), 'RING_HMAC_KY'].sort());
  expect(app.stderr()).not.toMatch(/changeme|zzzz|half-a-secret|other-half|AAAA|word-1|wrong-name/);
});
