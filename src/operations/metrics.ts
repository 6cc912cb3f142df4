import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { EXCHANGE_RESULTS, type ExchangeResult } from '../linking/exchange.js';
import type { PatientResult } from '../linking/link-pages.js';
import type { MatchReport } from '../linking/match.js';
import { PICTURE_OUTCOMES, type PictureOutcome } from '../pictures/outcomes.js';
import { ENDPOINTS } from '../ring/endpoints.js';
import { EVENT_TYPES, type RingEvent } from '../ring/events.js';
import type { CallReport } from '../ring/transport.js';
import type { Clock } from '../time/clock.js';
import { REFRESH_OUTCOMES, type RefreshOutcome } from '../tokens/refresh.js';
import { DELIVERY_OUTCOMES, type DeliveredEvent, type DeliveryOutcome } from '../webhooks/receiver.js';

/**
 * The metrics that this process counts by itself since it started; Prometheus adds up the instances. Features call the
 * functions and know nothing of Prometheus.
 *
 * Every label has a closed list of values, and none is an identifier.
 */
export interface Metrics {
  registry: Registry;
  onExchange: (result: ExchangeResult) => void;
  onMatched: (report: MatchReport) => void;
  onClaimed: (result: PatientResult['kind']) => void;
  onDelivery: (outcome: DeliveryOutcome, event?: DeliveredEvent) => void;
  onApplied: (event: Pick<RingEvent, 'type' | 'sentAt'>) => void;
  onFailed: (type: WebhookType) => void;
  onRefresh: (outcome: RefreshOutcome) => void;
  onPicture: (outcome: PictureOutcome) => void;
  onCall: (report: CallReport) => void;
  onTaskRun: (task: string, outcome: 'done' | 'failed') => void;
}

type WebhookType = DeliveredEvent['type'];

/** Every outcome of a claim. It is a record, so that the compiler sees when one is missing. */
const CLAIMS: Record<PatientResult['kind'], true> = {
  claimed: true,
  'made-already': true,
  resumed: true,
  'not-renewed': true,
  'linked-by-someone-else': true,
  'no-match': true,
  'app-removed': true,
  expired: true,
  'from-the-future': true,
};
const WEBHOOK_TYPES: readonly WebhookType[] = [...EVENT_TYPES, 'unknown'];
/** The outcomes that are counted by the event's type. The type of any other delivery may not be known. */
const TYPED: ReadonlySet<DeliveryOutcome> = new Set(['stored', 'duplicate']);

/** In seconds: from a commit on the same machine to Ring's last attempt to deliver, more than an hour later. */
const DELAY_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 7_200];

/** @param periodicTasks the names of all periodic tasks */
export function createMetrics({ clock, periodicTasks }: { clock: Clock; periodicTasks: readonly string[] }): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });

  const exchanges = new Counter({
    name: 'ring_link_token_exchanges_total',
    help: 'Authorization codes that this process has exchanged with Ring, by outcome. LOST: Ring answered with a token pair that could not be stored. TURNED_AWAY: Ring was not asked, because of too many codes, or too many bad ones.',
    labelNames: ['outcome'],
    registers,
  });
  const matchCandidates = new Histogram({
    name: 'ring_link_match_candidates',
    help: 'Unclaimed token pairs that one match had to compute a nonce for: all, or for a page that waits, the new ones.',
    buckets: [1, 10, 100, 1_000, 10_000, 100_000],
    registers,
  });
  const matchDuration = new Histogram({
    name: 'ring_link_match_duration_seconds',
    help: 'How long one match took to read the pool of unclaimed token pairs and compute their nonces.',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    registers,
  });
  const claims = new Counter({
    name: 'ring_link_claims_total',
    help: 'Attempts of signed-in users to link, by how they ended.',
    labelNames: ['outcome'],
    registers,
  });
  const webhooks = new Counter({
    name: 'ring_link_webhooks_received_total',
    help: 'Webhooks that were delivered to this process, by event type and outcome. The type is unknown when Ring has a new one, and when the delivery was not stored.',
    labelNames: ['type', 'outcome'],
    registers,
  });
  const storedDelay = new Histogram({
    name: 'ring_link_webhook_stored_delay_seconds',
    help: 'From the time that Ring wrote into a webhook until it was stored, earlier attempts of Ring to deliver it included.',
    buckets: DELAY_BUCKETS,
    registers,
  });
  const processedDelay = new Histogram({
    name: 'ring_link_webhook_processed_delay_seconds',
    help: 'From the time that Ring wrote into a webhook until its event was applied. Events that came before their account was linked have waited for the user.',
    buckets: DELAY_BUCKETS,
    registers,
  });
  const attempts = new Counter({
    name: 'ring_link_webhook_attempts_total',
    help: 'Attempts to apply a stored event, by event type and outcome. An event is given up after twelve failed ones.',
    labelNames: ['type', 'outcome'],
    registers,
  });
  const refreshes = new Counter({
    name: 'ring_link_token_refreshes_total',
    help: 'Token pairs that this process has asked Ring to replace, by outcome. REFUSED: the user has to link again. UNCERTAIN: no usable answer came, and Ring may have replaced the pair.',
    labelNames: ['outcome'],
    registers,
  });
  const snapshots = new Counter({
    name: 'ring_link_snapshots_total',
    help: 'Pictures that Ring was asked for, by outcome; each attempt counts. known: the same frame was kept before.',
    labelNames: ['outcome'],
    registers,
  });
  const ringCalls = new Counter({
    name: 'ring_link_ring_requests_total',
    help: 'Calls to Ring, by endpoint and HTTP status; unreachable: nothing was sent, no-answer: sent in vain.',
    labelNames: ['endpoint', 'status'],
    registers,
  });
  const ringDuration = new Histogram({
    name: 'ring_link_ring_request_duration_seconds',
    help: 'How long calls to Ring took, answer included, by endpoint.',
    labelNames: ['endpoint'],
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 8],
    registers,
  });
  const rateLimit = new Gauge({
    name: 'ring_link_ring_rate_limit_requests',
    help: 'How many requests a second Ring allows all instances together, as its last answer to this process that told it said.',
    registers,
  });
  const rateRemaining = new Gauge({
    name: 'ring_link_ring_rate_limit_remaining_requests',
    help: 'How many of them were left, as the last answer that told it said.',
    registers,
  });
  // Missing until Ring has told: a 0 would say that Ring takes no more calls.
  rateLimit.remove();
  rateRemaining.remove();
  const ticks = new Counter({
    name: 'ring_link_clock_ticks_total',
    help: 'Runs of periodic tasks, by outcome. The next run tries again.',
    labelNames: ['clock', 'outcome'],
    registers,
  });

  // Every counter begins at 0, so that the first of a kind is already an increase.
  const start = <Label extends string>(counter: Counter<Label>, label: Label, values: readonly string[]) => {
    for (const value of values) counter.inc({ [label]: value } as Record<Label, string>, 0);
  };
  start(exchanges, 'outcome', EXCHANGE_RESULTS);
  start(claims, 'outcome', Object.keys(CLAIMS));
  start(refreshes, 'outcome', REFRESH_OUTCOMES);
  start(snapshots, 'outcome', PICTURE_OUTCOMES);
  for (const type of WEBHOOK_TYPES) {
    for (const outcome of DELIVERY_OUTCOMES) {
      if (type === 'unknown' || TYPED.has(outcome)) webhooks.inc({ type, outcome }, 0);
    }
    for (const outcome of ['processed', 'failed']) attempts.inc({ type, outcome }, 0);
  }
  for (const endpoint of ENDPOINTS) ringDuration.zero({ endpoint });
  for (const name of periodicTasks) {
    for (const outcome of ['done', 'failed']) ticks.inc({ clock: name, outcome }, 0);
  }

  /** The seconds since a time by Ring's clock, which may be a little ahead of ours. */
  const since = (time: Date) => Math.max(0, (clock().getTime() - time.getTime()) / 1_000);

  return {
    registry,
    onExchange(outcome) {
      exchanges.inc({ outcome });
    },
    onMatched({ candidates, durationMs }) {
      matchCandidates.observe(candidates);
      matchDuration.observe(durationMs / 1_000);
    },
    onClaimed(outcome) {
      claims.inc({ outcome });
    },
    onDelivery(outcome, event) {
      webhooks.inc({ type: event?.type ?? 'unknown', outcome });
      if (outcome === 'stored' && event !== undefined) storedDelay.observe(since(event.sentAt));
    },
    onApplied({ type, sentAt }) {
      attempts.inc({ type, outcome: 'processed' });
      processedDelay.observe(since(sentAt));
    },
    onFailed(type) {
      attempts.inc({ type, outcome: 'failed' });
    },
    onRefresh(outcome) {
      refreshes.inc({ outcome });
    },
    onPicture(outcome) {
      snapshots.inc({ outcome });
    },
    onCall({ endpoint, result, durationMs, rateLimit: { limit, remaining } }) {
      ringCalls.inc({ endpoint, status: String(result) });
      ringDuration.observe({ endpoint }, durationMs / 1_000);
      if (limit !== undefined) rateLimit.set(limit);
      if (remaining !== undefined) rateRemaining.set(remaining);
    },
    onTaskRun(name, outcome) {
      ticks.inc({ clock: name, outcome });
    },
  };
}
