import { createHash, timingSafeEqual } from 'node:crypto';
import { type RequestHandler, Router } from 'express';
import { HttpError, methodNotAllowed, problemDetails } from '../http/errors.js';
import type { DatabaseGauges } from './database-gauges.js';
import type { HealthOptions } from './health.js';
import type { Metrics } from './metrics.js';
import { addProcessGauges } from './process-gauges.js';

export interface MetricsRouteOptions {
  health: HealthOptions;
  metrics: Metrics;
  gauges: DatabaseGauges;
  /** The bearer token that is asked for; without it, anybody may read the metrics. */
  token: string | undefined;
  /** How long the database is waited for, in ms. */
  limitMs?: number;
}

/** Less than Prometheus waits, so that it gets the metrics of the process when the database is away. */
const DEFAULT_LIMIT_MS = 1_500;

/** `GET /metrics`, for Prometheus. It answers also when nothing else works, with the metrics of the process alone. */
export function metricsRoute(options: MetricsRouteOptions): Router {
  const { health, metrics, gauges, token, limitMs = DEFAULT_LIMIT_MS } = options;
  const { registry } = metrics;
  addProcessGauges(registry, health, limitMs);

  /** The reading under way, shared by all requests meanwhile. */
  let underWay: Promise<string[]> | undefined;

  const router = Router();
  const route = router.route('/metrics');
  route.get(bearer(token), async (_request, response) => {
    underWay ??= Promise.all([registry.metrics(), gauges.exposition(limitMs)]).finally(() => (underWay = undefined));
    const texts = await underWay;
    response.set({ 'Content-Type': registry.contentType, 'Cache-Control': 'no-store' }).send(texts.join('\n'));
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
