import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { createApp } from './app.js';
import type { Config } from './configuration/config.js';
import type { Core } from './core.js';
import { type Database, openDatabase } from './database/database.js';
import { migrateToLatest } from './database/migrate.js';
import { startEventFeed } from './events/event-feed.js';
import type { EventStreamSettings } from './events/event-streams.js';
import { gracefulClose } from './http/graceful-close.js';
import { jobLanes } from './job-lanes.js';
import { startPeriodicTasks } from './jobs/periodic.js';
import { startQueue } from './jobs/queue.js';
import { catchUp } from './linking/catch-up.js';
import { createCodeExchange } from './linking/exchange.js';
import { createMetrics } from './operations/metrics.js';
import { periodicTasks, CRON_EXPRESSIONS } from './periodic-tasks.js';
import { currentRequestId } from './request-id.js';
import { createCoverage } from './ring-accounts/coverage.js';
import { maskEmail } from './ring/account-identifier.js';
import { createRingClient } from './ring/client.js';
import type { Clock } from './time/clock.js';
import { createAccessTokens } from './tokens/access-tokens.js';
import { findWrongKeys, requireEveryKey } from './tokens/key-check.js';
import { createCallBudget, HISTORY_SHARE, PICTURE_SHARE, REFRESH_SHARE, type Share } from './tokens/call-budget.js';
import { createVault, type Vault } from './tokens/vault.js';
import type { HashCost, HashThreadsOptions } from './users/hash-threads.js';
import { startApplier } from './webhooks/applier.js';

export interface ServiceOptions {
  config: Config;
  databaseUrl: string;
  /** The port to listen on. 0 takes any that is free. */
  port: number;
  clock: Clock;
  log: Logger;
  /** How long a page waits for Ring, in ms. */
  patienceMs?: number;
  /** How long a call to Ring may take, in ms. */
  ringTimeoutMs?: number;
  /** How long a caller waits for a connection to the database, in ms. */
  connectTimeoutMs?: number;
  eventStreams?: Partial<EventStreamSettings>;
  /** How long a scrape of the metrics waits for the database, in ms. */
  scrapeLimitMs?: number;
  /** For how long `/readyz` and `/metrics` give what one look found to all who ask, in ms. */
  freshMs?: number;
  /** The cost of hashing a password. Without it, the one that OWASP advises. */
  hashCost?: HashCost;
  /** How many threads hash passwords, and how many passwords wait for them; see {@link HashThreadsOptions}. */
  hashThreads?: HashThreadsOptions;
}

export interface Service {
  port: number;
  /**
   * Says that it is not ready, and goes on serving until load balancers have noticed. Then finishes the requests and jobs
   * that are under way, and closes everything.
   */
  stop(): Promise<void>;
}

const SERVER_OPTIONS = {
  /** Longer than load balancers keep an idle connection, so that we never close one on which a request is coming. */
  keepAliveTimeout: 65_000,
  headersTimeout: 20_000,
  /** The time for receiving one request. No form and no callback takes longer. */
  requestTimeout: 30_000,
};

/** Longer than any of our responses takes. A client that is still sending its request by then is cut off. */
const CLOSE_LIMIT_MS = 14_000;

/** Starts the whole service on an existing database: migrations, job queue, periodic tasks, and the server. */
export async function startService(options: ServiceOptions): Promise<Service> {
  const { config, clock, log } = options;
  const { unclaimedTtlSeconds, linkClockSkewSeconds, auditRetentionDays } = config;
  await migrateToLatest(options.databaseUrl);
  const database = openDatabase(options.databaseUrl, log, options.connectTimeoutMs);
  const vault = createVault(config.encryptionKeys);
  const areKeysRight = await checkKeys(options, database, vault).catch(async (error: unknown) => {
    await database.close();
    throw error;
  });

  const metrics = createMetrics({ clock, periodicTasks: Object.keys(CRON_EXPRESSIONS) });
  const ring = createRingClient({
    ...config.ring,
    ...(options.ringTimeoutMs && { timeoutMs: options.ringTimeoutMs }),
    requestId: currentRequestId,
    onCall(report) {
      metrics.onCall(report);
      log.debug({ call: report.endpoint, result: report.result, ms: Math.round(report.durationMs) }, 'asked Ring');
    },
  });
  const basis = { db: database.knex, ring, vault, clock, log, unclaimedTtlSeconds, linkClockSkewSeconds };
  const tokens = createAccessTokens({
    ...basis,
    onRefresh: metrics.onRefresh,
    // Ring knows what happened until now, while its webhooks may have found no link.
    onHealed: (trx, accountId) => catchUp(trx, accountId, clock()),
  });
  const exempt = config.subscriptionRequired ? config.subscriptionExempt : [];
  if (exempt.length > 0) {
    log.warn({ exempt: exempt.map(maskEmail) }, 'SUBSCRIPTION_EXEMPT: these users need no subscription');
  }
  const core: Core = { ...basis, tokens, coverage: createCoverage(config.subscriptionRequired, exempt) };
  const codes = createCodeExchange({ ...core, db: database.callback, onExchange: metrics.onExchange });

  let isStopping = false;
  const isShuttingDown = () => isStopping;
  const budgetOf = (share: Share) => createCallBudget(database.pool, share, isShuttingDown);
  const budgets = { pictureBudget: budgetOf(PICTURE_SHARE), historyBudget: budgetOf(HISTORY_SHARE) };
  const applier = startApplier({ ...core, ...metrics });
  const lanes = jobLanes(core, database, applier, metrics, budgets);
  const queue = startQueue(database, lanes, log);
  const periodic = startPeriodicTasks(
    periodicTasks(core, { budget: budgetOf(REFRESH_SHARE), auditRetentionDays, exempt, isStopping: isShuttingDown }),
    log,
    metrics.onTaskRun,
  );
  const feed = startEventFeed(options.databaseUrl, log);
  const app = createApp({
    core,
    feed,
    codes,
    config,
    database,
    queue,
    applier,
    metrics,
    areKeysRight,
    isShuttingDown,
    ...(options.patienceMs !== undefined && { patienceMs: options.patienceMs }),
    ...(options.scrapeLimitMs !== undefined && { scrapeLimitMs: options.scrapeLimitMs }),
    ...(options.freshMs !== undefined && { freshMs: options.freshMs }),
    ...(options.hashCost && { hashCost: options.hashCost }),
    ...(options.hashThreads && { hashThreads: options.hashThreads }),
    ...(options.eventStreams && { eventStreams: options.eventStreams }),
  });
  const server = createServer(SERVER_OPTIONS, app.express);
  const close = gracefulClose(server);

  async function stop(): Promise<void> {
    isStopping = true;
    if (server.listening) await delay(config.drainSeconds * 1_000);
    // After draining, so that browsers reconnect to another instance.
    app.endStreams();
    await Promise.all([server.listening && close(CLOSE_LIMIT_MS), periodic.stop(), queue.stop(), feed.stop()]);
    await applier.stop();
    // Exchanges and refreshes are finished even if their caller has gone: Ring's answer exists only in this process.
    await Promise.all([codes.settled(), tokens.settled()]);
    await app.close();
    await database.close();
  }

  try {
    server.listen(options.port);
    await once(server, 'listening');
  } catch (error) {
    await stop();
    throw error;
  }
  return { port: (server.address() as AddressInfo).port, stop };
}

/** @returns whether the encryption keys open the tokens in the database. @throws {MissingKeyError} */
async function checkKeys({ config, log }: ServiceOptions, database: Database, vault: Vault): Promise<boolean> {
  const keyIds = config.encryptionKeys.map(({ id }) => id);
  await requireEveryKey(database.pool, keyIds);
  const wrong = await findWrongKeys(database.pool, vault, keyIds);
  if (wrong.length === 0) return true;
  log.error({ keys: wrong }, 'TOKEN_ENCRYPTION_KEYS: these open nothing of what was sealed under their ids');
  return false;
}
