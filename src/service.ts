import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Knex } from 'knex';
import type { Logger } from 'pino';
import { createApp } from './app.js';
import type { Clock } from './clock.js';
import type { Config } from './config.js';
import { openDatabase } from './database/database.js';
import { migrateToLatest } from './database/migrate.js';
import { CLOSE_LIVE_VIEW, closeAtRing } from './devices/close-live-view.js';
import { endExpiredLiveViews, forgetEndedLiveViews } from './devices/live-views.js';
import { startDueOperations } from './devices/schedules.js';
import { TAKE_SNAPSHOT, takeSnapshot } from './devices/take-snapshot.js';
import { startClocks } from './jobs/clock.js';
import { oneAtATime } from './jobs/one-at-a-time.js';
import { startQueue } from './jobs/queue.js';
import { CONFIRM_LINK, confirmationKeyOf, confirmLink } from './linking/confirm.js';
import { createCodeExchange } from './linking/exchange.js';
import { expireUnclaimedTokens, forgetExpiredTokens, forgetOldExchanges } from './linking/expiry.js';
import { IDENTIFY_ACCOUNT, identifyAccount } from './linking/identify.js';
import { forgetOldDeviceEvents } from './devices/device-events.js';
import { purgeArchive } from './devices/archive.js';
import { fetchDevice, fetchInventory } from './devices/inventory.js';
import {
  FETCH_DEVICE,
  FETCH_INVENTORY,
  FETCH_SUBSCRIPTIONS,
  refetchInventory,
  refetchSubscriptions,
} from './devices/refetch.js';
import { forgetRemovedDevices } from './devices/removal.js';
import { fetchSubscriptions } from './devices/subscriptions.js';
import { createMetrics } from './operations/metrics.js';
import { currentRequestId } from './request-id.js';
import { createRingClient } from './ring/client.js';
import { createAccessTokens } from './tokens/access-tokens.js';
import { refreshInBackground } from './tokens/background-refresh.js';
import { findWrongKeys, requireEveryKey } from './tokens/key-check.js';
import { createRingBudget } from './tokens/ring-budget.js';
import { createVault } from './tokens/vault.js';
import { PROCESS_INBOX } from './webhooks/inbox.js';
import { enqueueInbox, processInbox, wakeOverdueInboxes } from './webhooks/process.js';
import { purgeInbox } from './webhooks/purge.js';

export interface ServiceOptions {
  config: Config;
  databaseUrl: string;
  /** 0: any free one. */
  port: number;
  clock: Clock;
  log: Logger;
  /** How long a page waits for Ring, in ms. */
  patienceMs?: number;
  /** How long a call to Ring may take, in ms. */
  ringTimeoutMs?: number;
}

export interface Service {
  port: number;
  /**
   * Is not ready from now on, and goes on serving until load balancers have noticed. Then finishes the requests and jobs that
   * are under way, and lets go of everything.
   */
  stop(): Promise<void>;
}

const SERVER_OPTIONS = {
  /** Longer than load balancers keep an idle connection, so that it is never we who hang up on a request. */
  keepAliveTimeout: 65_000,
  headersTimeout: 20_000,
  /** For receiving one request; no form and no callback takes longer. */
  requestTimeout: 30_000,
};

/** The whole service on an existing database: migrated, listening, with its queue and its clocks. */
export async function startService(options: ServiceOptions): Promise<Service> {
  const { config, clock, log } = options;
  await migrateToLatest(options.databaseUrl);
  const database = openDatabase(options.databaseUrl, log);
  const metrics = createMetrics({ clock });
  const ring = createRingClient({
    ...config.ring,
    ...(options.ringTimeoutMs && { timeoutMs: options.ringTimeoutMs }),
    requestId: currentRequestId,
    onCall(report) {
      metrics.onCall(report);
      log.debug({ call: report.endpoint, result: report.result, ms: Math.round(report.durationMs) }, 'asked Ring');
    },
  });
  const { unclaimedTtlSeconds, linkClockSkewSeconds } = config;
  const vault = createVault(config.encryptionKeys);
  const { onRefresh, onExchange, onApplied, onFailed, onSnapshot } = metrics;
  const basic = { database: database.knex, ring, vault, clock, log, unclaimedTtlSeconds, linkClockSkewSeconds };
  const tokens = createAccessTokens({ ...basic, onRefresh, onHealed: catchUp });
  const codes = createCodeExchange({ ...basic, onExchange });
  const shared = { ...basic, tokens };
  let isStopping = false;
  const budget = createRingBudget(database.pool, () => isStopping);

  let wrongKeys: string[];
  try {
    const keyIds = config.encryptionKeys.map(({ id }) => id);
    await requireEveryKey(database.pool, keyIds);
    wrongKeys = await findWrongKeys(database.pool, vault, keyIds);
  } catch (error) {
    await database.close();
    throw error;
  }
  if (wrongKeys.length > 0) {
    log.error({ keys: wrongKeys }, 'TOKEN_ENCRYPTION_KEYS: these open nothing of what was sealed under their ids');
  }

  const queue = startQueue(
    database,
    [
      {
        // What somebody waits for.
        concurrency: 10,
        tasks: {
          [IDENTIFY_ACCOUNT]: (payload) => identifyAccount(shared, payload),
          [CONFIRM_LINK]: oneAtATime(database, CONFIRM_LINK, confirmationKeyOf, (payload) =>
            confirmLink({ ...shared, onCompleted: catchUp }, payload),
          ),
          [PROCESS_INBOX]: (payload) => processInbox({ ...shared, onApplied, onFailed }, payload),
          [CLOSE_LIVE_VIEW]: (payload) => closeAtRing(shared, payload),
        },
      },
      {
        // What may be many, each waiting for Ring.
        concurrency: 5,
        tasks: {
          [FETCH_INVENTORY]: (payload) => fetchInventory(shared, payload),
          [FETCH_DEVICE]: (payload) => fetchDevice(shared, payload),
          [FETCH_SUBSCRIPTIONS]: (payload) => fetchSubscriptions(shared, payload),
          [TAKE_SNAPSHOT]: (payload) => takeSnapshot({ ...shared, onSnapshot }, payload),
        },
      },
    ],
    log,
  );
  const clocks = startClocks(
    [
      {
        name: 'expire unclaimed tokens',
        schedule: '* * * * *',
        async run() {
          const expired = await expireUnclaimedTokens(shared, unclaimedTtlSeconds);
          if (expired > 0) log.info({ expired }, 'expired unclaimed token pairs');
        },
      },
      { name: 'forget old code exchanges', schedule: '17 * * * *', run: () => forgetOldExchanges(shared) },
      { name: 'forget expired token pairs', schedule: '23 3 * * *', run: () => forgetExpiredTokens(shared) },
      // Ring ends a session by itself after a minute at most: nobody should be told for long that it is still open.
      { name: 'end expired live views', schedule: '*/5 * * * * *', run: () => endExpiredLiveViews(shared) },
      { name: 'forget ended live views', schedule: '47 * * * *', run: () => forgetEndedLiveViews(shared) },
      { name: 'start due snapshots', schedule: '* * * * *', run: () => startDueOperations(shared) },
      {
        name: 'refresh tokens',
        schedule: '* * * * *',
        run: () => refreshInBackground({ ...shared, budget, isStopping: () => isStopping }),
      },
      { name: 'wake overdue inboxes', schedule: '* * * * *', run: () => wakeOverdueInboxes(shared) },
      { name: 'purge the inbox', schedule: '29 * * * *', run: () => purgeInbox(shared) },
      { name: 'forget old device events', schedule: '27 3 * * *', run: () => forgetOldDeviceEvents(shared) },
      { name: 'forget removed devices', schedule: '31 3 * * *', run: () => forgetRemovedDevices(shared) },
      {
        name: 'purge the archive',
        schedule: '37 3 * * *',
        run: () => purgeArchive(shared, config.auditRetentionDays),
      },
    ],
    log,
    metrics.onTick,
  );
  const app = createApp({
    ...shared,
    codes,
    config,
    database,
    queue,
    metrics,
    areKeysRight: wrongKeys.length === 0,
    isShuttingDown: () => isStopping,
    ...(options.patienceMs !== undefined && { patienceMs: options.patienceMs }),
  });
  const server = createServer(SERVER_OPTIONS, app.express);
  const close = closer(server);

  async function stop(): Promise<void> {
    isStopping = true;
    if (server.listening) await delay(config.drainSeconds * 1_000);
    if (server.listening) await close();
    await clocks.stop();
    await queue.stop();
    // Also those whose caller has hung up: what Ring has answered is nowhere else.
    await Promise.all([codes.settled(), tokens.settled()]);
    app.close();
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

/** A link is made: what Ring knows about it is fetched, and what has arrived before it is applied. */
async function catchUp(trx: Knex, accountId: string): Promise<void> {
  await refetchInventory(trx, accountId);
  await refetchSubscriptions(trx, accountId);
  await enqueueInbox(trx, accountId);
}

/**
 * Takes no more connections, waits for the requests under way, and hangs up on every connection without one: browsers
 * open some in advance, on which nothing may ever be sent.
 */
function closer(server: Server): () => Promise<void> {
  const withoutRequest = new Set<Socket>();
  let isClosing = false;
  const release = (socket: Socket) => {
    if (isClosing) socket.destroy();
    else if (!socket.destroyed) withoutRequest.add(socket);
  };
  server.on('connection', (socket) => {
    release(socket);
    socket.once('close', () => withoutRequest.delete(socket));
  });
  server.on('request', ({ socket }, response) => {
    withoutRequest.delete(socket);
    response.once('close', () => {
      release(socket);
    });
  });
  return async () => {
    isClosing = true;
    const closed = once(server, 'close');
    server.close();
    for (const socket of withoutRequest) socket.destroy();
    await closed;
  };
}
