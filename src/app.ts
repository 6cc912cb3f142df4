import { createSecretKey } from 'node:crypto';
import ejs from 'ejs';
import express, { type Express, type RequestHandler, urlencoded } from 'express';
import helmet from 'helmet';
import type { Config } from './configuration/config.js';
import { ASSETS_DIR, VIEWS_DIR } from './configuration/paths.js';
import type { Core } from './core.js';
import type { Database } from './database/database.js';
import type { EventFeed } from './events/event-feed.js';
import { type EventStreamSettings, eventStreams } from './events/event-streams.js';
import { eventsPage } from './events/events-page.js';
import { errorPage, notFound } from './http/errors.js';
import { createRateLimits } from './http/rate-limits.js';
import { seeOther } from './http/see-other.js';
import { leanAssets } from './http/lean-assets.js';
import { createInbox } from './inbox/inbox.js';
import type { JobQueue } from './jobs/queue.js';
import type { CodeExchange } from './linking/exchange.js';
import { createLinkPages } from './linking/link-pages.js';
import { createNonceMatcher } from './linking/match.js';
import { tokenCallback } from './linking/token-callback.js';
import { liveViewRoutes } from './live-views/live-view-routes.js';
import { accountPage } from './my-data/account-page.js';
import { createDatabaseGauges } from './operations/database-gauges.js';
import { createReadiness, healthRoutes } from './operations/health.js';
import { requestLog } from './operations/logging.js';
import { metricsRoute } from './operations/metrics-route.js';
import type { Metrics } from './operations/metrics.js';
import { devicePage } from './pages/device-page.js';
import { createHomePage } from './pages/home-page.js';
import { picturePages } from './pages/picture-pages.js';
import { recordingPages } from './pages/recording-pages.js';
import { createAuthentication } from './users/authentication.js';
import type { HashCost, HashThreadsOptions } from './users/hash-threads.js';
import { createPasswords } from './users/passwords.js';
import { userRoutes } from './users/routes.js';
import { createSessions } from './users/session.js';
import { webhookReceiver } from './webhooks/receiver.js';

export interface AppOptions {
  core: Core;
  config: Config;
  database: Database;
  codes: CodeExchange;
  queue: Pick<JobQueue, 'isAlive'>;
  feed: EventFeed;
  metrics: Metrics;
  /** Whether the encryption keys open the tokens in the database. */
  areKeysRight: boolean;
  isShuttingDown: () => boolean;
  /** How long a page waits for Ring, in ms. */
  patienceMs?: number;
  eventStreams?: Partial<EventStreamSettings>;
  /** How long a scrape of the metrics waits for the database, in ms. */
  scrapeLimitMs?: number;
  /** For how long `/readyz` and `/metrics` give what one look found to all who ask, in ms. */
  freshMs?: number;
  /** The cost of hashing a password; see {@link createPasswords}. */
  hashCost?: HashCost;
  hashThreads?: HashThreadsOptions;
}

const FORM_LIMIT = '8kb';

export interface App {
  express: Express;
  /** Ends the event streams, which would never end by themselves. */
  endStreams: () => void;
  /** Ends the app's timers and threads. */
  close: () => Promise<void>;
}

/** The middleware in order, and the routers. Routes for programs come first: they need no session. */
export function createApp(options: AppOptions): App {
  const {
    core,
    config,
    database,
    metrics,
    areKeysRight,
    isShuttingDown,
    patienceMs = 10_000,
    freshMs = 1_000,
  } = options;
  const { db, clock, log } = core;
  const limits = createRateLimits({ ...database, scale: config.rateLimitScale });
  const passwords = createPasswords({ ...(options.hashCost && { cost: options.hashCost }), ...options.hashThreads });
  const authentication = createAuthentication(db, passwords);
  const sessions = createSessions({
    pool: database.pool,
    secret: config.sessionSecret,
    production: config.production,
    onError: (error) => {
      log.warn({ err: error }, 'the session store failed');
    },
  });
  const hmacKey = createSecretKey(config.ring.hmacKey, 'utf8');
  const streams = eventStreams({
    feed: options.feed,
    standing: sessions.standing,
    log,
    ...(options.eventStreams && { settings: options.eventStreams }),
  });
  const homePage = createHomePage({ ...core, limits });
  const linkPages = createLinkPages({
    ...core,
    // The walk through the pool may run long.
    matchNonce: createNonceMatcher(database.patientPool, hmacKey, metrics.onMatched),
    hmacKey,
    limits,
    patienceMs,
    isShuttingDown,
    onClaimed: metrics.onClaimed,
  });

  const app = express();
  app.disable('x-powered-by');
  // No nested parameters. A repeated one becomes a list, which no schema takes for text.
  app.set('query parser', 'simple');
  app.set('trust proxy', config.trustProxy);
  app.set('views', VIEWS_DIR);
  app.set('view engine', 'ejs');
  app.engine('ejs', renderView);
  app.enable('view cache');

  app.use(requestLog(log));
  app.use(securityHeaders(config));
  // The busiest route comes first.
  app.use(
    webhookReceiver({
      inbox: createInbox({ pool: database.inboxPool, clock, clockSkewMs: config.linkClockSkewSeconds * 1_000 }),
      hmacKey,
      log,
      onDelivery: metrics.onDelivery,
    }),
  );
  const readiness = createReadiness({ database, queue: options.queue, areKeysRight, isShuttingDown, freshMs });
  app.use(healthRoutes(readiness));
  app.use(
    metricsRoute({
      readiness,
      database,
      passwords,
      metrics,
      gauges: createDatabaseGauges({ pool: database.metricsPool, clock, log }),
      token: config.metricsToken,
      freshMs,
      ...(options.scrapeLimitMs !== undefined && { limitMs: options.scrapeLimitMs }),
    }),
  );
  app.use(tokenCallback(options.codes, limits));
  app.use('/assets', leanAssets(), express.static(ASSETS_DIR, { maxAge: '1h' }));

  app.use(storedNowhere);
  app.use(sessions.middleware, ...authentication.middleware);
  app.use(urlencoded({ extended: false, limit: FORM_LIMIT, parameterLimit: 20 }));
  app.use(
    userRoutes({
      db,
      clock,
      authentication,
      passwords,
      limits,
      async proceed(request, response, intent) {
        if (intent === 'link') await linkPages.link(request, response);
        else seeOther(response, '/ring/home');
      },
      showForms: (request, response, intent, email, error) =>
        (intent === 'link' ? linkPages.showSignIn : homePage.showSignedOut)(request, response, email, error),
    }),
  );
  app.use(linkPages.router);
  app.use(homePage.router);
  app.use(liveViewRoutes({ ...core, limits }));
  app.use(devicePage({ ...core, limits, stunUrls: config.stunUrls }));
  app.use(picturePages({ ...core, limits, onPicture: metrics.onPicture }));
  app.use(recordingPages({ ...core, limits }));
  app.use(eventsPage({ db, limits }));
  app.use(streams.router);
  app.use(accountPage({ ...core, database, authentication, passwords, limits }));
  app.use(notFound);
  app.use(errorPage);
  return {
    express: app,
    endStreams: streams.close,
    async close() {
      sessions.close();
      await passwords.close();
    },
  };
}

/** Renders a template without its indentation, which browsers don't show. */
const renderView: Parameters<Express['engine']>[1] = (path, data, done) => {
  ejs.renderFile(path, data, { views: [VIEWS_DIR], cache: true, rmWhitespace: true }, done);
};

function securityHeaders({ production }: Config): RequestHandler {
  return helmet({
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'self'"],
        baseUri: ["'none'"],
        objectSrc: ["'none'"],
        frameAncestors: ["'none'"],
        formAction: ["'self'"],
        imgSrc: ["'self'", 'data:'],
        mediaSrc: ["'self'"],
      },
    },
    referrerPolicy: { policy: 'no-referrer' },
    xFrameOptions: { action: 'deny' },
    // Only where TLS is certain: it would lock a developer's http://localhost out for months.
    strictTransportSecurity: production && { maxAge: 31_536_000, includeSubDomains: false },
  });
}

/** Keeps pages out of every cache, because each belongs to one person. */
const storedNowhere: RequestHandler = (_request, response, next) => {
  response.set('Cache-Control', 'no-store');
  next();
};
