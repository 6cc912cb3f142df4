import type { ClientConfig } from 'pg';
import { type ConnectionOptions, parse, toClientConfig } from 'pg-connection-string';

/** Where the database is and how it is reached, as `pg` takes it. */
export type DatabaseAddress = Pick<
  ClientConfig,
  'host' | 'port' | 'user' | 'password' | 'database' | 'ssl' | 'sslnegotiation' | 'options'
>;

/** A URL that can't be used. The message says what is expected, and repeats nothing of the URL. */
export class DatabaseUrlError extends Error {
  override readonly name = 'DatabaseUrlError';
}

const SSL_MODES = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'];
/** What `ssl=…` may say, besides 1 and 0, which the parser reads. */
const SSL_WORDS = new Map<unknown, DatabaseAddress['ssl']>([
  ['true', true],
  ['false', false],
  ['no-verify', { rejectUnauthorized: false }],
]);

export const EXPECTED_URL = 'expected a postgres:// connection URL';
const ENCODED = '%40 for @, %2F for /, %3F for ?, %23 for # and %25 for % in user and password';
const WANTS_ENCODING = `a character in it wants percent-encoding; expected ${ENCODED}`;
const CERTIFICATES = 'expected PEM files that this process may read as sslrootcert, sslcert and sslkey';

/**
 * Reads a connection URL: the one place that does, so that every pool, the migrations and the commands connect alike.
 *
 * TLS is as `pg` has it today and not as in libpq: `prefer`, `require` and `verify-ca` verify the certificate and its name,
 * unless `uselibpqcompat=true` says otherwise. As in libpq, a socket has no TLS, and `sslrootcert=system` means the
 * authorities that this machine trusts.
 *
 * @returns new objects at each call, because `pg` hides the key in those that it gets, and Knex would copy them without
 * @throws {DatabaseUrlError}
 */
export function readDatabaseUrl(url: string): DatabaseAddress {
  if (!/^(?:postgres(?:ql)?:\/\/|socket:\/)/i.test(url)) throw new DatabaseUrlError(EXPECTED_URL);
  if (wantsEncoding(url)) throw new DatabaseUrlError(WANTS_ENCODING);
  const read = parsed(withDefiniteTls(url));
  requireKnownTls(read);
  const { host, port, user, password, database, sslnegotiation, options } = clientConfig(read);
  const isSocket = host?.startsWith('/') === true;
  const ssl = isSocket ? false : tlsOf(read);
  // An empty part is as one that is not there: `pg` then looks for PGHOST and its like.
  return {
    ...(host && { host }),
    ...(port !== undefined && { port }),
    ...(user && { user }),
    ...(password && { password }),
    ...(database && { database }),
    ...(ssl !== undefined && { ssl }),
    ...(sslnegotiation && !isSocket && { sslnegotiation }),
    ...(options && { options }),
  };
}

/**
 * Whether a raw `/`, `?` or `#` has ended the part with user and password too early: their `@` then stands behind it. A value
 * in the query may have an `@` of its own.
 */
function wantsEncoding(url: string): boolean {
  const [, path = '', query = ''] = /^\w+:\/\/[^/?#]*([^?#]*)(?:\?([^#]*))?/.exec(url) ?? [];
  return (
    url.includes('#') ||
    path.includes('@') ||
    query.split('&').some((pair) => pair.includes('@') && !pair.includes('='))
  );
}

/** Says outright what the parser would warn about, because it will read it differently one day, and what it doesn't know. */
function withDefiniteTls(url: string): string {
  const start = url.indexOf('?') + 1;
  if (start === 0) return url;
  const parameters = url.slice(start).split('&');
  const without = (names: RegExp) => parameters.filter((one) => !names.test(one));
  const withQuery = (query: string[]) => url.slice(0, start) + query.join('&');
  if (parameters.includes('sslrootcert=system')) {
    return withQuery([...without(/^(?:sslrootcert|sslmode|uselibpqcompat)=/), 'sslmode=verify-full']);
  }
  // libpq has no such mode, so the parser would not see it.
  if (parameters.includes('sslmode=no-verify')) return withQuery(without(/^uselibpqcompat=/));
  if (parameters.includes('uselibpqcompat=true')) return url;
  return withQuery(
    parameters.map((one) => one.replace(/^sslmode=(?:prefer|require|verify-ca)$/, 'sslmode=verify-full')),
  );
}

function parsed(url: string): ConnectionOptions {
  try {
    return parse(url);
  } catch (error) {
    if (error instanceof URIError) throw new DatabaseUrlError(WANTS_ENCODING);
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ERR_INVALID_URL') {
      throw new DatabaseUrlError(url.includes('@') ? `${EXPECTED_URL}, with ${ENCODED}` : EXPECTED_URL);
    }
    if (code === undefined && message.includes('verify-ca')) {
      throw new DatabaseUrlError('expected sslrootcert=/path/to/ca.pem beside sslmode=verify-ca');
    }
    // What is left are the files that it reads.
    throw new DatabaseUrlError(CERTIFICATES);
  }
}

function clientConfig(read: ConnectionOptions): ClientConfig {
  try {
    return toClientConfig(read);
  } catch {
    throw new DatabaseUrlError('expected a port number');
  }
}

function requireKnownTls({ sslmode, ssl }: ConnectionOptions): void {
  if (sslmode !== undefined && !SSL_MODES.some((mode) => mode === sslmode)) {
    throw new DatabaseUrlError(`sslmode is none that is known here; expected one of ${SSL_MODES.join(', ')}`);
  }
  if (typeof ssl === 'string' && !SSL_WORDS.has(ssl)) {
    throw new DatabaseUrlError(`ssl is nothing that is known here; expected ${[...SSL_WORDS.keys()].join(', ')}`);
  }
  if (typeof ssl !== 'object') return;
  const { ca, cert, key } = ssl;
  if ((cert === undefined) !== (key === undefined)) throw new DatabaseUrlError('expected sslcert and sslkey together');
  const files = [ca, cert, key].filter((file) => typeof file === 'string');
  if (!files.every((file) => file.includes('-----BEGIN '))) throw new DatabaseUrlError(CERTIFICATES);
}

function tlsOf({ ssl }: ConnectionOptions): DatabaseAddress['ssl'] {
  if (typeof ssl !== 'object') return typeof ssl === 'string' ? SSL_WORDS.get(ssl) : ssl;
  const { cert, ...rest } = ssl;
  return { ...rest, ...(typeof cert === 'string' && { cert }) };
}
