import { types } from 'node:util';
import pg from 'pg';
import { ConfigError } from '../configuration/config.js';
import { readDatabaseUrl } from '../configuration/database-url.js';
import { within } from '../time/within.js';

/** What is asked of a database before anything is done with it. */
export interface DatabaseFacts {
  encoding: string;
  /** As in `server_version_num`: 140012 is 14.12. */
  version: number;
  isReadOnly: boolean;
  /** Whether two connections that are open at the same time were one and the same on the server. */
  isShared: boolean;
}

const OLDEST_VERSION = 140_000;
const CONNECT_TIMEOUT_MS = 30_000;

/**
 * Refuses a database in which the service would start, and fail its users later.
 *
 * @throws {ConfigError} names all that is wrong with it. Any other error means that it could not be asked
 */
export async function requireUsableDatabase(databaseUrl: string): Promise<void> {
  const problems = problemsOf(await explained(() => askDatabase(databaseUrl)));
  if (problems.length > 0) throw new ConfigError(problems.map((problem) => `DATABASE_URL: ${problem}`));
}

/**
 * Runs what connects to the database or changes its tables.
 *
 * @throws {ConfigError} when it fails by what stands in the URL, or by what the database's role may do
 */
export async function explained<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    const problem = problemOf(error);
    if (problem === undefined) throw error;
    throw new ConfigError([`DATABASE_URL: ${problem}`], { cause: error });
  }
}

/** What is wrong with a database, each with what is expected. */
export function problemsOf({ encoding, version, isReadOnly, isShared }: DatabaseFacts): string[] {
  const problems: string[] = [];
  if (encoding !== 'UTF8') {
    problems.push(
      `the database stores ${encoding}, which has no room for every name; expected one with ENCODING 'UTF8': CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'`,
    );
  }
  if (version < OLDEST_VERSION) {
    problems.push(`the server is Postgres ${Math.floor(version / 10_000)}; expected 14 or newer`);
  }
  if (isReadOnly) {
    problems.push(
      'the server takes no changes; expected the primary, and a database and a role that are not read-only',
    );
  }
  if (isShared) {
    problems.push(
      'a pooler gives each transaction another connection; expected one in session mode (PgBouncer: pool_mode = session), or the server itself',
    );
  }
  return problems;
}

/** Asks on two connections at once, because only two can show a pooler that hands out one connection in turns. */
async function askDatabase(databaseUrl: string): Promise<DatabaseFacts> {
  const clients = [0, 1].map(
    () => new pg.Client({ ...readDatabaseUrl(databaseUrl), connectionTimeoutMillis: CONNECT_TIMEOUT_MS }),
  );
  // A connection that is lost fails the statement, too.
  for (const client of clients) client.on('error', () => undefined);
  try {
    const answers: (Omit<DatabaseFacts, 'isShared'> & { pid: number })[] = [];
    for (const client of clients) {
      await client.connect();
      const { rows } = await client.query<(typeof answers)[number]>(
        `SELECT pg_encoding_to_char(encoding) AS encoding, current_setting('server_version_num')::int AS version,
                current_setting('transaction_read_only')::bool AS "isReadOnly", pg_backend_pid() AS pid
           FROM pg_database WHERE datname = current_database()`,
      );
      answers.push(...rows);
    }
    const [first, second] = answers;
    if (first === undefined) throw new Error('Postgres does not know the database that it is asked in');
    return { ...first, isShared: first.pid === second?.pid };
  } finally {
    // One that was never connected may not say that it has ended.
    await Promise.all(clients.map((client) => within(1_000, client.end())));
  }
}

const NOT_TRUSTED =
  'the certificate of the server is signed by nobody whom this machine trusts; expected sslrootcert=/path/to/ca.pem, or uselibpqcompat=true&sslmode=require to encrypt without verifying';

/** What the codes of Postgres, and of Node for TLS, say about the set-up. */
const PROBLEMS: Readonly<Record<string, string>> = {
  '28P01':
    'the server does not take the user and password; expected those of one of its roles, percent-encoded (%25 for %)',
  '28000': 'the server does not let this user in; expected a role and a way to connect that its pg_hba.conf allows',
  '3D000': 'the server has no such database; expected one that exists',
  '42501':
    'the role may not create what the service needs; expected the owner of the database, or one with CREATE on it and on its schema public',
  SELF_SIGNED_CERT_IN_CHAIN: NOT_TRUSTED,
  DEPTH_ZERO_SELF_SIGNED_CERT: NOT_TRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: NOT_TRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: NOT_TRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: NOT_TRUSTED,
  CERT_HAS_EXPIRED: 'the certificate of the server has run out; expected a valid one',
  CERT_NOT_YET_VALID: 'the certificate of the server is not valid yet; expected a valid one, and a clock that is right',
  ERR_TLS_CERT_ALTNAME_INVALID:
    'the certificate of the server is for another host name; expected that name in the URL, or uselibpqcompat=true&sslmode=verify-ca with sslrootcert=/path/to/ca.pem',
};

/** The same for errors that have no code of their own. */
const MESSAGES: readonly [RegExp, string][] = [
  [
    /no pg_hba\.conf entry .*(?:no encryption|SSL off)/,
    'the server wants TLS; expected sslmode=verify-full, or another one that encrypts',
  ],
  [/does not support SSL/, 'the server has no TLS; expected sslmode=disable, or a server that has it'],
  [/client password must be/, 'the server wants a password; expected postgres://user:password@host/database'],
  [/unsupported startup parameter/, 'the pooler does not take `options`; expected a URL without them'],
];

function problemOf(error: unknown): string | undefined {
  if (!types.isNativeError(error)) return undefined;
  const { code } = error as { code?: unknown };
  const byMessage = MESSAGES.find(([form]) => form.test(error.message))?.[1];
  return byMessage ?? (typeof code === 'string' ? PROBLEMS[code] : undefined);
}
