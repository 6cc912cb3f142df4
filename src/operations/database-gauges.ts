import { setTimeout as delay } from 'node:timers/promises';
import type { Pool, PoolClient } from 'pg';
import { Gauge, Registry } from 'prom-client';
import type { Clock } from '../clock.js';
import { IS_APPLIED } from '../database/link-conditions.js';
import { type LinkStatus, NONCE_TOO_OLD } from '../linking/links.js';
import type { RefreshState } from '../tokens/refresh.js';

/**
 * What stands in the database, which all instances share: read when somebody asks, and the same on every instance. Sum
 * what processes count; of these take the maximum.
 */
export interface DatabaseGauges {
  /**
   * In Prometheus' text format. What could not be read, or not in time, is not there; whether it was read always is.
   * Takes `limitMs` at most.
   */
  exposition(limitMs: number): Promise<string>;
}

/** What is read together, and is there or not there together. */
interface Reading {
  name: string;
  registry: Registry;
  /** Reads it all, then sets the gauges. Ages are reckoned to `now`. */
  read: (client: PoolClient, now: Date) => Promise<void>;
  /** How long what was read is taken for the present, in ms. */
  freshMs: number;
  /** How long it is still given out while reading it anew fails or takes long, in ms. */
  staleMs: number;
}

/** Counting what there is of everything walks whole indexes, some 100 ms for a million rows: not at every scrape. */
const CENSUS_FRESH_MS = 60_000;
/** It may take longer than whoever scrapes waits. */
const CENSUS_STALE_MS = 10 * 60_000;
const DAY_MS = 86_400_000;

/** @param pool for two at a time: what takes long must not keep the rest waiting */
export function createDatabaseGauges({ pool, clock }: { pool: Pool; clock: Clock }): DatabaseGauges {
  const readings = [createBacklog(), createQueue(), createCensus()].map((reading) => ({
    name: reading.name,
    text: textOf(reading, pool, clock),
  }));
  const status = new Registry();
  const success = new Gauge({
    name: 'ring_link_database_scrape_success',
    help: 'Whether the metrics that stand in the database could be read: backlog (what waits), queue (its jobs), census (what there is, counted once a minute). Those that could not are not there.',
    labelNames: ['reading'],
    registers: [status],
  });

  return {
    async exposition(limitMs) {
      const texts = await Promise.all(
        readings.map(async ({ name, text: read }) => {
          const text = await read(limitMs);
          success.set({ reading: name }, text === undefined ? 0 : 1);
          return text ?? '';
        }),
      );
      return [await status.metrics(), ...texts].join('\n');
    },
  };
}

/** Reads when asked, once for all who ask meanwhile; undefined when there is nothing that could be given out. */
function textOf(
  { registry, read, freshMs, staleMs }: Reading,
  pool: Pool,
  clock: Clock,
): (limitMs: number) => Promise<string | undefined> {
  let last = { readAt: -Infinity, text: '' };
  let underWay: Promise<void> | undefined;

  async function readAnew(): Promise<void> {
    const now = clock();
    await withClient(pool, (client) => read(client, now));
    last = { readAt: now.getTime(), text: await registry.metrics() };
  }
  const age = () => clock().getTime() - last.readAt;

  return async (limitMs) => {
    if (freshMs > 0 && age() < freshMs) return last.text;
    underWay ??= readAnew().finally(() => (underWay = undefined));
    const isRead = await within(limitMs, underWay);
    return isRead || age() < staleMs ? last.text : undefined;
  };
}

/** False when it fails or takes longer. */
async function within(limitMs: number, work: Promise<void>): Promise<boolean> {
  const tooLate = new AbortController();
  const done = work.then(
    () => true,
    () => false,
  );
  const limit = delay(limitMs, false, { signal: tooLate.signal }).catch(() => false);
  const isDone = await Promise.race([done, limit]);
  tooLate.abort();
  return isDone;
}

async function withClient(pool: Pool, use: (client: PoolClient) => Promise<void>): Promise<void> {
  const client = await pool.connect();
  try {
    await use(client);
  } catch (error) {
    // It may still be at work on what took too long.
    client.release(true);
    throw error;
  }
  client.release();
}

/** What waits, and for how long. Each statement is served by a partial index of what waits. */
function createBacklog(): Reading {
  const registry = new Registry();
  const gauge = gaugesOf(registry);

  const unclaimed = gauge(
    'ring_link_unclaimed_pairs',
    'Token pairs in the pool that every match walks: their account is known, their user has not come yet.',
  );
  const unclaimedAge = gauge(
    'ring_link_unclaimed_oldest_age_seconds',
    'How long the oldest unclaimed token pair has waited for its user; above UNCLAIMED_TTL_SECONDS the expiry is late.',
  );
  const unidentified = gauge(
    'ring_link_unidentified_pairs',
    'Token pairs of which Ring has not told us the account yet, so that no user can be matched with them.',
  );
  const unidentifiedAge = gauge(
    'ring_link_unidentified_oldest_age_seconds',
    'How long the oldest token pair has waited for Ring to tell us its account.',
  );
  const confirming = gauge(
    'ring_link_confirming_links',
    'Links that are claimed and not confirmed with Ring yet. In waiting=user Ring was away for longer than a nonce lives: only a tap on Sign In helps.',
    'waiting',
  );
  const confirmingAge = gauge(
    'ring_link_confirming_oldest_age_seconds',
    'How long ago the oldest of these links was claimed.',
    'waiting',
  );
  const inbox = gauge(
    'ring_link_webhook_backlog_events',
    'Stored events that are not applied yet. Those of accounts that are not linked wait for the link, and are no delay.',
    'account',
  );
  const inboxAge = gauge(
    'ring_link_webhook_backlog_oldest_age_seconds',
    'How long ago the oldest of these events was stored.',
    'account',
  );
  const failed = gauge(
    'ring_link_webhook_failed_events',
    'Events that were given up after twelve attempts, until somebody has them run again.',
  );
  const liveViews = gauge('ring_link_live_views', 'Live views that are opening or open.', 'status');

  return {
    name: 'backlog',
    registry,
    freshMs: 0,
    staleMs: 0,
    async read(client, now) {
      const { rows: pool } = await client.query<Waiting>(
        // Two statements in one, because a partial index serves only a query that is known to fit it.
        `SELECT 'UNCLAIMED' AS label, count(*)::int AS count, ${ageSql('min(created_at)')} AS age
           FROM ring_tokens WHERE status = 'UNCLAIMED'
         UNION ALL
         SELECT 'RECEIVED', count(*)::int, ${ageSql('min(created_at)')} FROM ring_tokens WHERE status = 'RECEIVED'`,
        [now],
      );
      const { rows: links } = await client.query<Waiting>(
        `SELECT CASE WHEN link.last_error = $2 THEN 'user' ELSE 'ring' END AS label,
                count(*)::int AS count, ${ageSql('min(token.claimed_at)')} AS age
           FROM account_links link JOIN ring_tokens token ON token.id = link.token_id
          WHERE link.status = 'CONFIRMING' GROUP BY 1`,
        [now, NONCE_TOO_OLD],
      );
      const { rows: events } = await client.query<Waiting>(
        // LATERAL, so that the few accounts with a backlog are looked up, and not all links walked.
        `SELECT CASE WHEN link.found IS NULL THEN 'unlinked' ELSE 'linked' END AS label,
                sum(event.count)::int AS count, ${ageSql('min(event.oldest)')} AS age
           FROM (SELECT account_id, count(*) AS count, min(received_at) AS oldest
                   FROM webhook_events WHERE status = 'PENDING' GROUP BY account_id) event
           LEFT JOIN LATERAL (SELECT true AS found FROM account_links
                               WHERE account_id = event.account_id AND ${IS_APPLIED}
                               LIMIT 1) link ON true
          GROUP BY 1`,
        [now],
      );
      const { rows: givenUp } = await client.query<Count>(
        `SELECT 'all' AS label, count(*)::int AS count FROM webhook_events WHERE status = 'FAILED'`,
      );
      const { rows: views } = await client.query<Count>(
        `SELECT status AS label, count(*)::int AS count FROM live_views WHERE status <> 'ENDED' GROUP BY 1`,
      );

      unclaimed.set(countOf(pool, 'UNCLAIMED'));
      unclaimedAge.set(ageOf(pool, 'UNCLAIMED'));
      unidentified.set(countOf(pool, 'RECEIVED'));
      unidentifiedAge.set(ageOf(pool, 'RECEIVED'));
      for (const waiting of ['ring', 'user']) {
        confirming.set({ waiting }, countOf(links, waiting));
        confirmingAge.set({ waiting }, ageOf(links, waiting));
      }
      for (const account of ['linked', 'unlinked']) {
        inbox.set({ account }, countOf(events, account));
        inboxAge.set({ account }, ageOf(events, account));
      }
      failed.set(countOf(givenUp, 'all'));
      for (const value of ['OPENING', 'OPEN']) liveViews.set({ status: value }, countOf(views, value));
    },
  };
}

/** The queue's jobs: some dozens, unless something is wrong. */
function createQueue(): Reading {
  const registry = new Registry();
  const gauge = gaugesOf(registry);

  const jobs = gauge(
    'ring_link_jobs',
    'Jobs in the queue: due (should be running), scheduled (for later, retries included), running, dead (given up by the queue).',
    'state',
  );
  const jobsFailing = gauge(
    'ring_link_jobs_failing',
    'Jobs in the queue whose last attempt has thrown: mistakes of ours or of the database, for calls to Ring are retried by new jobs.',
  );
  const jobsAge = gauge(
    'ring_link_jobs_oldest_due_age_seconds',
    'For how long the job that is due the longest has been due.',
  );

  return {
    name: 'queue',
    registry,
    freshMs: 0,
    staleMs: 0,
    async read(client) {
      const { rows: queue } = await client.query<Waiting & { failing: number }>(
        // Now by the clock of Postgres, as the queue itself has it.
        `SELECT CASE WHEN locked_at IS NOT NULL THEN 'running' WHEN attempts >= max_attempts THEN 'dead'
                     WHEN run_at > now() THEN 'scheduled' ELSE 'due' END AS label,
                count(*)::int AS count, count(*) FILTER (WHERE attempts > 0 AND last_error IS NOT NULL)::int AS failing,
                coalesce(extract(epoch FROM now() - min(run_at)), 0)::float AS age
           FROM graphile_worker.jobs GROUP BY 1`,
      );

      for (const state of ['due', 'scheduled', 'running', 'dead']) jobs.set({ state }, countOf(queue, state));
      jobsFailing.set(queue.reduce((sum, { failing }) => sum + failing, 0));
      jobsAge.set(ageOf(queue, 'due'));
    },
  };
}

const LINK_STATUSES: Record<LinkStatus, true> = {
  CONFIRMING: true,
  COMPLETED: true,
  REFUSED: true,
  REAUTH_REQUIRED: true,
  REMOVED: true,
};

const REFRESH_STATES: Record<RefreshState, true> = { FINE: true, REFRESHING: true, UNCERTAIN: true, FAILING: true };

/** The age of a refresh token, from the youngest: each has its name and the days at which it begins. */
const AGES = [
  { label: '0-1d', days: 0 },
  { label: '1-2d', days: 1 },
  { label: '2-7d', days: 2 },
  { label: '7-20d', days: 7 },
  { label: '20-30d', days: 20 },
  { label: 'over-30d', days: 30 },
] as const;

/** What there is. */
function createCensus(): Reading {
  const registry = new Registry();
  const gauge = gaugesOf(registry);

  const links = gauge(
    'ring_link_links',
    'Links between a partner user and a Ring account, ended ones included.',
    'status',
  );
  const ages = gauge(
    'ring_link_refresh_tokens',
    'Refresh tokens of claimed pairs by age. They live about 30 days, and are replaced once a day.',
    'age',
  );
  const pairs = gauge(
    'ring_link_claimed_pairs',
    'Claimed token pairs by what became of their last refresh. UNCERTAIN: Ring may have replaced the pair without our learning of it.',
    'refresh_state',
  );
  const operations = gauge('ring_link_scheduled_operations', 'Scheduled pictures.', 'status');

  return {
    name: 'census',
    registry,
    freshMs: CENSUS_FRESH_MS,
    staleMs: CENSUS_STALE_MS,
    async read(client, now) {
      const { rows: byStatus } = await client.query<Count>(
        'SELECT status AS label, count(*)::int AS count FROM account_links GROUP BY 1',
      );
      const { rows: states } = await client.query<Count>(
        `SELECT refresh_state AS label, count(*)::int AS count FROM ring_tokens WHERE status = 'CLAIMED' GROUP BY 1`,
      );
      const { rows: aged } = await client.query<Count>(
        // Only what is over a day old is looked at: normally nothing. The others are the rest.
        `SELECT width_bucket(coalesce(refreshed_at, created_at), $1::timestamptz[])::text AS label, count(*)::int AS count
           FROM ring_tokens
          WHERE status = 'CLAIMED' AND coalesce(refreshed_at, created_at) < $2 GROUP BY 1`,
        // Oldest first, as the buckets want to be sorted.
        [
          AGES.slice(1)
            .map(({ days }) => daysBefore(now, days))
            .reverse(),
          daysBefore(now, 1),
        ],
      );
      const { rows: scheduled } = await client.query<Count>(
        'SELECT status AS label, count(*)::int AS count FROM scheduled_operations GROUP BY 1',
      );

      for (const status of Object.keys(LINK_STATUSES)) links.set({ status }, countOf(byStatus, status));
      for (const state of Object.keys(REFRESH_STATES)) pairs.set({ refresh_state: state }, countOf(states, state));
      const younger = Math.max(0, sum(states) - sum(aged));
      for (const [index, { label }] of AGES.entries()) {
        // The buckets of Postgres are counted from the oldest, which is before the first of the times.
        ages.set({ age: label }, index === 0 ? younger : countOf(aged, `${AGES.length - 1 - index}`));
      }
      for (const status of ['ACTIVE', 'PAUSED']) operations.set({ status }, countOf(scheduled, status));
    },
  };
}

interface Count {
  label: string;
  count: number;
}

interface Waiting extends Count {
  /** Of the oldest, in seconds. */
  age: number;
}

function gaugesOf(registry: Registry): (name: string, help: string, ...labelNames: string[]) => Gauge {
  return (name, help, ...labelNames) => new Gauge({ name, help, labelNames, registers: [registry] });
}

/** SQL: the seconds from a time to the first parameter, 0 when there is none or it has not come yet. */
const ageSql = (time: string): string => `greatest(0, coalesce(extract(epoch FROM $1 - ${time}), 0))::float`;

const countOf = (counts: readonly Count[], label: string): number =>
  counts.find((one) => one.label === label)?.count ?? 0;

const ageOf = (waiting: readonly Waiting[], label: string): number =>
  waiting.find((one) => one.label === label)?.age ?? 0;

const sum = (counts: readonly Count[]): number => counts.reduce((total, { count }) => total + count, 0);

const daysBefore = (now: Date, days: number): Date => new Date(now.getTime() - days * DAY_MS);
