import knex, { type Knex } from 'knex';
import pg from 'pg';
import type { Logger } from 'pino';

export interface Database {
  /** What our own SQL runs through. */
  knex: Knex;
  /** For the libraries that speak `pg` themselves: the queue, the session store, the rate limits and the pool's cursor. */
  pool: pg.Pool;
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 4_000;
/** No statement of a request takes longer than this; what does has met a lock or a sick server, and must let go. */
const STATEMENT_TIMEOUT_MS = 10_000;

/** Opens both pools. Nothing is connected yet, so this can't fail when Postgres is down. */
export function openDatabase(url: string, log: Logger): Database {
  const onConnectionError = (error: Error) => {
    log.warn({ err: error }, 'a database connection was lost');
  };
  const connection = {
    connectionString: url,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    // For a server that is out of reach, and so can't cancel anything.
    query_timeout: STATEMENT_TIMEOUT_MS + 1_000,
    idle_in_transaction_session_timeout: STATEMENT_TIMEOUT_MS,
    keepAlive: true,
  };
  const pool = new pg.Pool({ ...connection, max: 10, application_name: 'ring-account-linking libraries' });
  // An idle connection that Postgres ends is an event of the pool; unheard, it would end the process.
  pool.on('error', onConnectionError);
  // The same for one that ends between two uses of its holder.
  pool.on('connect', (client) => client.on('error', onConnectionError));
  const instance = knex({
    client: 'pg',
    connection: { ...connection, application_name: 'ring-account-linking' },
    pool: { min: 0, max: 10, acquireTimeoutMillis: CONNECT_TIMEOUT_MS },
    acquireConnectionTimeout: CONNECT_TIMEOUT_MS,
    log: knexLog(log),
  });
  return {
    knex: instance,
    pool,
    async close() {
      await Promise.all([instance.destroy(), pool.end()]);
    },
  };
}

/** Knex would write to the console. Its errors reach whoever made the query; here they are detail. */
function knexLog(log: Logger): Knex.Logger {
  const write = (message: unknown) => {
    log.debug({ message: String(message) }, 'knex');
  };
  return { warn: write, error: write, debug: write, deprecate: write };
}

/** Runs one statement and returns its rows. `Row` is what the caller's SQL selects: the two stand side by side. */
export async function rows<Row>(on: Knex, sql: string, bindings: Knex.RawBinding[] = []): Promise<Row[]> {
  const result = await on.raw<{ rows: Row[] }>(sql, bindings);
  return result.rows;
}

/** As {@link rows}, for a statement that touches one row or none. */
export async function row<Row>(on: Knex, sql: string, bindings: Knex.RawBinding[] = []): Promise<Row | undefined> {
  const [first] = await rows<Row>(on, sql, bindings);
  return first;
}
