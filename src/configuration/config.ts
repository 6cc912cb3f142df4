import { isIP } from 'node:net';
import { z } from 'zod';

/** One AES-256 key of the vault; `id` is stored beside every ciphertext that it made. */
export interface EncryptionKey {
  id: string;
  key: Buffer;
}

export type Config = Readonly<{
  production: boolean;
  port: number;
  /** The origin at which browsers and Ring reach this service, without a trailing slash. */
  publicUrl: string;
  /** Undefined when an embedded Postgres is to be started, which is never in production. */
  databaseUrl: string | undefined;
  ring: Readonly<{ clientId: string; clientSecret: string; hmacKey: string; oauthUrl: string; apiUrl: string }>;
  sessionSecret: string;
  /** The first encrypts, all decrypt. */
  encryptionKeys: readonly EncryptionKey[];
  unclaimedTtlSeconds: number;
  linkClockSkewSeconds: number;
  /** How long the archive of removals is kept. */
  auditRetentionDays: number;
  /** How long a process that is told to stop goes on serving while it is not ready any more. */
  drainSeconds: number;
  /** Multiplies every rate limit. */
  rateLimitScale: number;
  simulator: boolean;
  /** Whether what a device offers needs an active subscription that covers it. */
  subscriptionRequired: boolean;
  /** The e-mail addresses of users who need no subscription, in lower case. */
  subscriptionExempt: readonly string[];
  /** The STUN servers that a browser asks for its address before it opens a live view: `stun:host:port`. */
  stunUrls: readonly string[];
  /** Express' setting `trust proxy`: a number of hops, or addresses and subnets. */
  trustProxy: number | string[];
  metricsToken: string | undefined;
  logLevel: (typeof LOG_LEVELS)[number];
}>;

/** The environment is not usable. `problems` has one line for each bad variable, and never its value. */
export class ConfigError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(problems.join('\n'));
    this.name = 'ConfigError';
  }
}

export type Environment = Readonly<Record<string, string | undefined>>;

export const RING_CREDENTIALS = ['RING_CLIENT_ID', 'RING_CLIENT_SECRET', 'RING_HMAC_KEY'] as const;

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
const TRUST_PROXY_NAMES = ['loopback', 'linklocal', 'uniquelocal'];
/** The hosts that plain http may go to in production, because no network is in between: those of the simulator. */
const LOOPBACK_HOSTS = new Set(['localhost', '127.0.0.1', '[::1]']);

const required = (expected: string) =>
  z.string({
    error: (issue) => (issue.input === undefined ? `missing; expected ${expected}` : `expected ${expected}`),
  });

const text = (expected: string, minimumLength = 1) =>
  required(expected).min(minimumLength, { error: `expected ${expected}` });

const integer = (minimum: number, maximum: number, standard: number) => {
  const error = `expected a whole number from ${minimum} to ${maximum}`;
  return z
    .string()
    .regex(/^\d{1,9}$/, { error })
    .transform(Number)
    .pipe(z.number().min(minimum, { error }).max(maximum, { error }))
    .default(standard);
};

const url = (expected: string, protocols: RegExp) =>
  required(expected).pipe(z.url({ protocol: protocols, error: `expected ${expected}` }));

/** The URL of a Ring API. In production not plain http, because our client secret and tokens go there. */
const ringUrl = (production: boolean) => {
  const expected = `an ${production ? 'https' : 'http(s)'}:// URL`;
  return url(expected, /^https?$/).transform((value, context) => {
    const isPrivate = isHttps(value) || LOOPBACK_HOSTS.has(new URL(value).hostname);
    if (isPrivate || !production) return value.replace(/\/+$/, '');
    context.addIssue({ code: 'custom', message: `expected ${expected}` });
    return z.NEVER;
  });
};

/** An origin as browsers write it. In production https, because browsers send a secure cookie over nothing else. */
const origin = (production: boolean) => {
  const expected = `an ${production ? 'https' : 'http(s)'}:// URL of scheme, host and port, without a path`;
  return url(expected, /^https?$/).transform((value, context) => {
    const { href, origin } = new URL(value);
    if (href === `${origin}/` && (isHttps(value) || !production)) return origin;
    context.addIssue({ code: 'custom', message: `expected ${expected}` });
    return z.NEVER;
  });
};

const isHttps = (value: string) => value.toLowerCase().startsWith('https:');

const encryptionKeys = text('id:base64-of-32-bytes, comma-separated').transform((value, context) => {
  const keys: EncryptionKey[] = [];
  for (const entry of value.split(',')) {
    const match = /^([A-Za-z0-9._-]{1,32}):([A-Za-z0-9+/]{43}=)$/.exec(entry.trim());
    const [, id, base64] = match ?? [];
    if (id === undefined || base64 === undefined || keys.some((key) => key.id === id)) {
      context.addIssue({
        code: 'custom',
        message: `expected id:base64-of-32-bytes, comma-separated, each id once (entry ${keys.length + 1} is not)`,
      });
      return z.NEVER;
    }
    keys.push({ id, key: Buffer.from(base64, 'base64') });
  }
  return keys;
});

const trustProxy = z
  .string()
  .default('0')
  .transform((value, context): number | string[] => {
    if (/^\d{1,2}$/.test(value)) return Number(value);
    const entries = value.split(',').map((entry) => entry.trim());
    if (entries.every(isAddressOrSubnet)) return entries;
    // `true` is refused on purpose: it would let any client choose the address that its rate limits count against.
    context.addIssue({
      code: 'custom',
      message: 'expected the number of proxies in front, or their addresses or subnets, comma-separated',
    });
    return z.NEVER;
  });

/** Comma-separated entries of one form. White space around them is dropped. */
const listOf = (expected: string, entry: z.ZodType<string, string>, most: number) =>
  z
    .string()
    .default('')
    .transform((value, context) => {
      const entries = value.split(',').map((one) => entry.safeParse(one.trim()));
      const read = entries.flatMap(({ data }) => data ?? []);
      if (value.trim() === '') return [];
      if (read.length === entries.length && read.length <= most) return [...new Set(read)];
      context.addIssue({ code: 'custom', message: `expected ${expected}, comma-separated, ${most} at most` });
      return z.NEVER;
    });

/** RFC 7064, without `stuns`: a name or an address, an IPv6 one in brackets, and a port if it is not 3478. */
const StunUrl = z
  .string()
  .max(300)
  .regex(/^stun:(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/)
  .refine((value) => {
    const port = Number(/[^:]:(\d+)$/.exec(value.slice('stun:'.length))?.[1] ?? 3478);
    // A browser that is given a port 0 opens no connection at all.
    return port >= 1 && port <= 65_535;
  });

/** As users' addresses are stored. */
const Email = z
  .string()
  .toLowerCase()
  .pipe(z.email({ pattern: z.regexes.html5Email }).max(254));

function isAddressOrSubnet(entry: string): boolean {
  if (TRUST_PROXY_NAMES.includes(entry)) return true;
  const [address, prefix, ...rest] = entry.split('/');
  const version = isIP(address ?? '');
  if (version === 0 || rest.length > 0) return false;
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128));
}

/** Every variable that the service reads. */
export function environmentSchema(production: boolean, simulatorOrigin: string | undefined) {
  const publicUrl = origin(production);
  const databaseUrl = url('a postgres:// connection URL', /^postgres(ql)?$/);
  return z.object({
    // A list, because any other value, a typing error too, would silently mean "not production".
    NODE_ENV: z
      .enum(['production', 'development', 'test'], { error: 'expected production, development or test' })
      .optional(),
    // Two ports below the last, because the simulator listens on the next two.
    PORT: integer(1, 65_533, 3000),
    PUBLIC_URL: production ? publicUrl : publicUrl.optional(),
    DATABASE_URL: production ? databaseUrl : databaseUrl.optional(),
    RING_CLIENT_ID: text('the client ID that Ring issued'),
    RING_CLIENT_SECRET: text('the client secret that Ring issued'),
    RING_HMAC_KEY: text('the HMAC signing key that Ring issued'),
    RING_OAUTH_URL: ringUrl(production).default(simulatorOrigin ?? 'https://oauth.ring.com'),
    RING_API_URL: ringUrl(production).default(simulatorOrigin ?? 'https://api.amazonvision.com'),
    SESSION_SECRET: text('32 random characters or more', 32),
    TOKEN_ENCRYPTION_KEYS: encryptionKeys,
    UNCLAIMED_TTL_SECONDS: integer(600, 900, 600),
    LINK_CLOCK_SKEW_SECONDS: integer(0, 60, 5),
    AUDIT_RETENTION_DAYS: integer(1, 36_500, 365),
    // In production there is a load balancer. In development Ctrl-C should not wait.
    DRAIN_SECONDS: integer(0, 60, production ? 5 : 0),
    RATE_LIMIT_SCALE: z
      .string()
      .regex(/^\d{1,6}(\.\d{1,3})?$/, { error: 'expected a number above 0' })
      .transform(Number)
      .pipe(z.number().positive({ error: 'expected a number above 0' }))
      .default(1),
    SUBSCRIPTION_REQUIRED: z.enum(['off', 'device'], { error: 'expected off or device' }).default('off'),
    SUBSCRIPTION_EXEMPT: listOf('e-mail addresses', Email, 50),
    // Browsers warn about five and more: each is asked, and makes a live view slower to open.
    STUN_URLS: listOf('stun: URLs like stun:stun.example.com:3478', StunUrl, 4),
    RING_SIMULATOR: z.enum(['on', 'off'], { error: 'expected on or off' }).optional(),
    TRUST_PROXY: trustProxy,
    METRICS_TOKEN: text('16 random characters or more', 16).optional(),
    LOG_LEVEL: z.enum(LOG_LEVELS, { error: `expected one of ${LOG_LEVELS.join(', ')}` }).default('info'),
  });
}

/** Whether the built-in simulator plays Ring: when asked, or outside production when no Ring credential is given. */
export function wantsSimulator(environment: Environment): boolean {
  if (environment.RING_SIMULATOR) return environment.RING_SIMULATOR === 'on';
  return !isProduction(environment) && RING_CREDENTIALS.every((name) => !environment[name]);
}

export function isProduction(environment: Environment): boolean {
  return environment.NODE_ENV === 'production';
}

/** The simulator listens beside the app, on the next port, and its media host on the one after that. */
export function simulatorPort(appPort: number): number {
  return appPort + 1;
}

/**
 * Reads and checks the whole environment.
 * @throws {ConfigError} names every variable that is missing or bad, and what was expected; never its value
 */
export function readConfig(environment: Environment): Config {
  // An empty variable is what compose files and CI systems pass for "not set".
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''));
  const production = isProduction(given);
  const simulator = wantsSimulator(given);
  const simulatorOrigin = simulator ? `http://127.0.0.1:${simulatorPort(Number(given.PORT ?? 3000))}` : undefined;

  const result = environmentSchema(production, simulatorOrigin).safeParse(given);
  if (!result.success) {
    throw new ConfigError(result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`));
  }
  const values = result.data;
  return {
    production,
    port: values.PORT,
    publicUrl: values.PUBLIC_URL ?? `http://localhost:${values.PORT}`,
    databaseUrl: values.DATABASE_URL,
    ring: {
      clientId: values.RING_CLIENT_ID,
      clientSecret: values.RING_CLIENT_SECRET,
      hmacKey: values.RING_HMAC_KEY,
      oauthUrl: values.RING_OAUTH_URL,
      apiUrl: values.RING_API_URL,
    },
    sessionSecret: values.SESSION_SECRET,
    encryptionKeys: values.TOKEN_ENCRYPTION_KEYS,
    unclaimedTtlSeconds: values.UNCLAIMED_TTL_SECONDS,
    linkClockSkewSeconds: values.LINK_CLOCK_SKEW_SECONDS,
    auditRetentionDays: values.AUDIT_RETENTION_DAYS,
    drainSeconds: values.DRAIN_SECONDS,
    rateLimitScale: values.RATE_LIMIT_SCALE,
    simulator,
    subscriptionRequired: values.SUBSCRIPTION_REQUIRED === 'device',
    subscriptionExempt: values.SUBSCRIPTION_EXEMPT,
    stunUrls: values.STUN_URLS,
    trustProxy: values.TRUST_PROXY,
    metricsToken: values.METRICS_TOKEN,
    logLevel: values.LOG_LEVEL,
  };
}
