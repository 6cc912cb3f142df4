import knex, { type Knex } from 'knex';
import pg from 'pg';
import type { Logger } from 'pino';
import { useUtc } from './use-utc.js';

export interface Database {
  /** Runs our own SQL. */
  knex: Knex;
  /** For the exchange of codes alone, so that a crowd on our pages can't keep Ring waiting. */
  callback: Knex;
  /** For libraries that use `pg` themselves: the session store and the rate limits. */
  pool: pg.Pool;
  /** No query timeout: LISTEN and cursors run long. For the job engine, the matching and downloads. */
  patientPool: pg.Pool;
  /** For the webhook inbox alone, so that nothing else can keep it waiting. */
  inboxPool: pg.Pool;
  /** For metrics alone, so that the operator sees them when every other connection is taken. */
  metricsPool: pg.Pool;
  /** How busy each pool is now. */
  usage(): PoolUsage[];
  close(): Promise<void>;
}

export interface PoolUsage {
  pool: 'knex' | 'callback' | 'libraries' | 'queue' | 'inbox' | 'metrics';
  inUse: number;
  idle: number;
  /** The callers that wait for a connection. */
  waiting: number;
  /** The most connections that it may open. */
  limit: number;
}

const APPLICATION = 'ring-account-linking';
/** How long a caller waits for a connection, in ms. */
const DEFAULT_CONNECT_TIMEOUT_MS = 4_000;
/** Longer than any statement of a request should take. One that takes longer waits for a lock, or the server is sick. */
const STATEMENT_TIMEOUT_MS = 10_000;
const KNEX_LIMIT = 10;
const CALLBACK_LIMIT = 8;

/** Opens the pools. Nothing is connected yet, so this can't fail when Postgres is down. */
export function openDatabase(url: string, log: Logger, connectTimeoutMs = DEFAULT_CONNECT_TIMEOUT_MS): Database {
  const connection = {
    connectionString: url,
    connectionTimeoutMillis: connectTimeoutMs,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    idle_in_transaction_session_timeout: STATEMENT_TIMEOUT_MS,
    keepAlive: true,
  };
  // The client's own limit, for a server that is out of reach and can't cancel the statement.
  const limited = { ...connection, query_timeout: STATEMENT_TIMEOUT_MS + 1_000 };
  const pool = openPool({ ...limited, max: 10, application_name: `${APPLICATION} libraries` }, log);
  const patientPool = openPool({ ...connection, max: 24, application_name: `${APPLICATION} queue` }, log);
  const inboxPool = openPool({ ...limited, max: 2, application_name: `${APPLICATION} inbox` }, log);
  const metricsPool = openPool({ ...limited, max: 2, application_name: `${APPLICATION} metrics` }, log);
  const instance = openKnex(
    { ...limited, application_name: APPLICATION },
    { max: KNEX_LIMIT, timeoutMs: connectTimeoutMs, log },
  );
  const callback = openKnex(
    { ...limited, application_name: `${APPLICATION} callback` },
    { max: CALLBACK_LIMIT, timeoutMs: connectTimeoutMs, log },
  );
  return {
    knex: instance,
    callback,
    pool,
    patientPool,
    inboxPool,
    metricsPool,
    usage: () => [
      usageOfKnex('knex', instance, KNEX_LIMIT),
      usageOfKnex('callback', callback, CALLBACK_LIMIT),
      usageOf('libraries', pool),
      usageOf('queue', patientPool),
      usageOf('inbox', inboxPool),
      usageOf('metrics', metricsPool),
    ],
    async close() {
      const pools = [pool, patientPool, inboxPool, metricsPool];
      await Promise.all([instance.destroy(), callback.destroy(), ...pools.map((one) => one.end())]);
    },
  };
}

interface KnexLimits {
  /** The most connections that it may open. */
  max: number;
  /** How long a statement may wait for a connection, in ms. */
  timeoutMs: number;
  log: Pick<Logger, 'debug'>;
}

/** Opens a pool for our own SQL. Nothing is connected yet. */
export function openKnex(connection: Knex.PgConnectionConfig, { max, timeoutMs, log }: KnexLimits): Knex {
  return knex({
    client: 'pg',
    connection,
    pool: {
      min: 0,
      max,
      acquireTimeoutMillis: timeoutMs,
      afterCreate(client: pg.Client, done: (error: unknown, client: pg.Client) => void) {
        useUtc(client).then(
          () => {
            done(null, client);
          },
          (error: unknown) => {
            done(error, client);
          },
        );
      },
    },
    acquireConnectionTimeout: timeoutMs,
    log: knexLog(log),
    // Keeps bound values out of error messages.
    compileSqlOnError: false,
  });
}

function openPool(options: pg.PoolConfig, log: Logger): pg.Pool {
  const onLost = (error: Error) => {
    log.warn({ err: error }, 'a database connection was lost');
  };
  // The pool waits for the promise of `onConnect`, although its types don't say so.
  const connecting = { onConnect: useUtc };
  const pool = new pg.Pool({ ...options, ...connecting });
  // A connection that Postgres ends emits an error, on the pool or on itself. Unhandled, it would end the process.
  pool.on('error', onLost);
  pool.on('connect', (client) => client.on('error', onLost));
  return pool;
}

function usageOf(name: PoolUsage['pool'], { totalCount, idleCount, waitingCount, options }: pg.Pool): PoolUsage {
  return { pool: name, inUse: totalCount - idleCount, idle: idleCount, waiting: waitingCount, limit: options.max };
}

/** The usage of Knex' own pool, for which it has no type. */
function usageOfKnex(name: PoolUsage['pool'], instance: Knex, limit: number): PoolUsage {
  const { pool } = instance.client as { pool?: Record<'numUsed' | 'numFree' | 'numPendingAcquires', () => number> };
  return {
    pool: name,
    inUse: pool?.numUsed() ?? 0,
    idle: pool?.numFree() ?? 0,
    waiting: pool?.numPendingAcquires() ?? 0,
    limit,
  };
}

/** Sends Knex' messages to our log, because it would write them to the console. Its errors are thrown to the caller too. */
function knexLog(log: Pick<Logger, 'debug'>): Knex.Logger {
  const write = (message: unknown) => {
    log.debug({ message: String(message) }, 'knex');
  };
  return { warn: write, error: write, debug: write, deprecate: write };
}
