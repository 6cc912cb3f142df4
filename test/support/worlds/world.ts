import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { readConfig } from '../../../src/configuration/config.js';
import type { EventStreamSettings } from '../../../src/events/event-streams.js';
import { createLogger } from '../../../src/operations/logging.js';
import { type Service, startService } from '../../../src/service.js';
import { startSimulator } from '../../../src/simulator/simulator.js';
import type { HashCost, HashThreadsOptions } from '../../../src/users/hash-threads.js';
import { Visitor } from '../clients/visitor.js';
import { scaled, WAIT_LIMIT_MS } from '../waiting/limits.js';
import { createTestDatabase } from './postgres.js';
import { Ring } from './ring.js';

export const HMAC_KEY = 'a-signing-key-for-tests-with-ünïcode';

const CHEAPEST: HashCost = { memoryCost: 8, timeCost: 1, parallelism: 1 };

/** A clock that stands still until the test moves it. The app and the simulator share it. */
export class TestClock {
  #offsetMs = 0;
  readonly #startedAt = Date.now();

  readonly now = (): Date => new Date(this.#startedAt + this.#offsetMs);

  advance(seconds: number): void {
    // Whole milliseconds: a lost fraction would make the time a millisecond too early.
    this.#offsetMs += Math.round(seconds * 1_000);
  }
}

export interface WorldOptions {
  environment?: Record<string, string>;
  /** A database of the test's own. By default a new copy of the migrated template. */
  databaseUrl?: string;
  /** The time in ms that a page waits for Ring. Short by default, because most tests don't want to wait. */
  patienceMs?: number;
  /** The time limit of a call to Ring in ms. By default as in production. */
  ringTimeoutMs?: number;
  /** The time in ms that a scrape waits for the database. Unlimited unless given. */
  scrapeLimitMs?: number;
  /**
   * The time in ms for which one look of `/readyz` and `/metrics` is given to all who ask. None unless given, because a test
   * asks for what has just happened.
   */
  freshMs?: number;
  /** The cost of hashing a password. As low as possible unless given. */
  hashCost?: HashCost;
  hashThreads?: HashThreadsOptions;
  eventStreams?: Partial<EventStreamSettings>;
  /** Ring's clock, epoch ms. The app's unless given. */
  ringNow?: () => number;
}

/** The app, Ring (the simulator) and a database, which talk over real HTTP. */
export interface World {
  url: string;
  ring: Ring;
  clock: TestClock;
  /** Every line of the app's log. */
  log: string[];
  visitor(): Visitor;
  /** Runs one statement on the app's database, with values for `$1`, `$2`. */
  sql<Row extends pg.QueryResultRow>(statement: string, values?: unknown[]): Promise<Row[]>;
  databaseUrl: string;
  environment: Record<string, string>;
  /**
   * Starts another instance of the app on the same database, as behind a load balancer. Its clock may be ahead, in
   * seconds.
   */
  startAnother(aheadSeconds?: number): Promise<Service>;
  stop(): Promise<void>;
}

export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const clock = new TestClock();
  const own = options.databaseUrl === undefined ? await createTestDatabase() : undefined;
  const databaseUrl = options.databaseUrl ?? own?.url ?? '';
  const appPort = await freePort();
  const url = `http://localhost:${appPort}`;
  const credentials = { clientId: 'test-client', clientSecret: `secret-${randomUUID()}`, hmacKey: HMAC_KEY };
  const simulator = await startSimulator({
    port: 0,
    ...credentials,
    app: { publicUrl: url },
    now: options.ringNow ?? (() => clock.now().getTime()),
  });
  const environment = {
    PORT: `${appPort}`,
    PUBLIC_URL: url,
    DATABASE_URL: databaseUrl,
    RING_CLIENT_ID: credentials.clientId,
    RING_CLIENT_SECRET: credentials.clientSecret,
    RING_HMAC_KEY: credentials.hmacKey,
    RING_OAUTH_URL: simulator.url,
    RING_API_URL: simulator.url,
    SESSION_SECRET: randomBytes(32).toString('hex'),
    TOKEN_ENCRYPTION_KEYS: `test:${randomBytes(32).toString('base64')}`,
    RATE_LIMIT_SCALE: '1000',
    LOG_LEVEL: 'trace',
    ...options.environment,
  };
  const config = readConfig(environment);
  const log: string[] = [];
  const start = (port: number, aheadSeconds = 0) =>
    startService({
      config,
      databaseUrl,
      port,
      clock: () => new Date(clock.now().getTime() + aheadSeconds * 1_000),
      log: createLogger(config, { write: (line) => log.push(line) }),
      patienceMs: options.patienceMs ?? scaled(300),
      ringTimeoutMs: options.ringTimeoutMs ?? scaled(8_000),
      connectTimeoutMs: scaled(4_000),
      scrapeLimitMs: options.scrapeLimitMs ?? WAIT_LIMIT_MS,
      freshMs: options.freshMs ?? 0,
      hashCost: options.hashCost ?? CHEAPEST,
      ...(options.hashThreads && { hashThreads: options.hashThreads }),
      ...(options.eventStreams && { eventStreams: options.eventStreams }),
    });
  const service = await start(appPort);
  const others: Service[] = [];
  // Connections are kept: a new one may not be had while Postgres is in the trouble that a test has made for it.
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 4, idleTimeoutMillis: 0 });
  pool.on('error', () => undefined);

  return {
    url,
    ring: new Ring(simulator.url),
    clock,
    log,
    databaseUrl,
    environment,
    visitor: () => new Visitor(url),
    async sql<Row extends pg.QueryResultRow>(statement: string, values: unknown[] = []) {
      return (await pool.query<Row>(statement, values)).rows;
    },
    async startAnother(aheadSeconds) {
      const other = await start(0, aheadSeconds);
      others.push(other);
      return other;
    },
    async stop() {
      for (const other of others) await other.stop();
      await service.stop();
      await simulator.close();
      await pool.end();
      await own?.drop();
    },
  };
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
