import { createHash, timingSafeEqual } from 'node:crypto';
import { type RequestHandler, Router } from 'express';
import type { Database } from '../database/database.js';
import { HttpError, methodNotAllowed, problemDetails } from '../http/errors.js';
import type { Passwords } from '../users/passwords.js';
import type { DatabaseGauges } from './database-gauges.js';
import type { Readiness } from './health.js';
import type { Metrics } from './metrics.js';
import { addProcessGauges } from './process-gauges.js';
import { shareLook } from './shared-look.js';

export interface MetricsRouteOptions {
  readiness: Readiness;
  database: Pick<Database, 'usage'>;
  passwords: Pick<Passwords, 'usage'>;
  metrics: Metrics;
  gauges: DatabaseGauges;
  /** The bearer token that is asked for; without it, anybody may read the metrics. */
  token: string | undefined;
  /** How long the database is waited for, in ms. */
  limitMs?: number;
  /** For how long what was read is given to all who ask, in ms. */
  freshMs: number;
}

/** Less than Prometheus waits, so that it gets the metrics of the process when the database is away. */
const DEFAULT_LIMIT_MS = 1_500;

/** `GET /metrics`, for Prometheus. It answers also when nothing else works, with the metrics of the process alone. */
export function metricsRoute(options: MetricsRouteOptions): Router {
  const { readiness, database, passwords, metrics, gauges, token, limitMs = DEFAULT_LIMIT_MS, freshMs } = options;
  const { registry } = metrics;
  addProcessGauges(registry, { readiness, database, passwords, limitMs });
  const read = shareLook(freshMs, async () => {
    const texts = await Promise.all([registry.metrics(), gauges.exposition(limitMs)]);
    return texts.join('\n');
  });

  const router = Router();
  const route = router.route('/metrics');
  route.get(bearer(token), async (_request, response) => {
    response.set({ 'Content-Type': registry.contentType, 'Cache-Control': 'no-store' }).send(await read());
  });
  route.all(methodNotAllowed('GET', 'HEAD'));
  router.use('/metrics', problemDetails);
  return router;
}

function bearer(token: string | undefined): RequestHandler {
  const expected = token === undefined ? undefined : digest(token);
  return (request, _response, next) => {
    if (expected !== undefined) {
      const [, given = ''] = /^Bearer +(.+)$/i.exec(request.get('authorization') ?? '') ?? [];
      // Digests, because timingSafeEqual wants equal lengths.
      if (!timingSafeEqual(digest(given), expected)) {
        throw new HttpError(401, 'Send METRICS_TOKEN as a bearer token.', {
          headers: { 'WWW-Authenticate': 'Bearer realm="metrics"' },
        });
      }
    }
    next();
  };
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
