import type { Pool } from 'pg';
import { type Sql, sql } from '../database/sql.js';
import { isDatabaseUnavailable } from '../database/unavailable.js';
import { NEXT_ARRIVAL } from '../ring-accounts/installation.js';
import { isApplied } from '../ring-accounts/link-conditions.js';
import type { ParsedEvent } from '../ring/events.js';
import type { Clock } from '../time/clock.js';

/** A delivery whose signature and form are good. */
export interface Delivery {
  event: Exclude<ParsedEvent, { kind: 'malformed' }>['event'];
  body: string;
}

export type Stored = 'stored' | 'duplicate';

export interface Inbox {
  /**
   * Stores a delivery and resolves when it is committed: from then on no crash, ours or Postgres's, loses it.
   *
   * @throws {InboxUnavailableError} when it was not committed in time; it may be stored or not
   */
  store(delivery: Delivery): Promise<Stored>;
}

/** A delivery could not be stored in time. Ring should deliver it again. */
export class InboxUnavailableError extends Error {
  override readonly name = 'InboxUnavailableError';
}

/** Ring gives up after 5 s. */
const DEFAULT_LIMIT_MS = 4_000;
/** Limits a batch's memory and its time in Postgres. More than this wait only when Postgres is slow. */
const MAX_BATCH = 200;
const MAX_WAITING = 2_000;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

interface Waiting extends Delivery {
  resolve: (stored: Stored) => void;
  reject: (error: unknown) => void;
  hasGivenUp: boolean;
}

/**
 * The inbox with group commit: deliveries that arrive while a batch is being committed make up the next batch, and share
 * one statement and one commit. A delivery that comes alone finds no batch under way and is stored at once.
 */
export function createInbox({ pool, clock, clockSkewMs, onReady, limitMs = DEFAULT_LIMIT_MS }: InboxOptions): Inbox {
  let waiting: Waiting[] = [];
  let waitingBytes = 0;
  /** Whether a batch is being committed. The next one grows meanwhile. */
  let isCommitting = false;

  function commitSoon(): void {
    if (isCommitting || waiting.length === 0) return;
    isCommitting = true;
    // Not at once: deliveries of this same turn of the event loop belong into the batch.
    setImmediate(() => {
      void commit(takeBatch()).finally(() => {
        isCommitting = false;
        commitSoon();
      });
    });
  }

  function takeBatch(): Waiting[] {
    const batch = waiting.slice(0, MAX_BATCH);
    waiting = waiting.slice(MAX_BATCH);
    for (const { body } of batch) waitingBytes -= body.length;
    return batch.filter(({ hasGivenUp }) => !hasGivenUp);
  }

  async function commit(batch: Waiting[]): Promise<void> {
    if (batch.length === 0) return;
    try {
      const { stored, ready } = await storeBatch(pool, { now: clock(), clockSkewMs, limitMs }, batch);
      for (const one of batch) one.resolve(stored.delete(one.event.requestId) ? 'stored' : 'duplicate');
      onReady(ready);
    } catch (error) {
      if (batch.length === 1 || isDatabaseUnavailable(error)) for (const one of batch) one.reject(error);
      // Postgres may have refused the batch because of one delivery, so each is tried by itself.
      else for (const one of batch) await commit([one]);
    }
  }

  return {
    store(delivery) {
      return new Promise<Stored>((resolve, reject) => {
        if (waiting.length >= MAX_WAITING || waitingBytes >= MAX_WAITING_BYTES) {
          reject(new InboxUnavailableError('too many deliveries are waiting for the database'));
          return;
        }
        const one: Waiting = { ...delivery, resolve: settle(resolve), reject: settle(reject), hasGivenUp: false };
        const timer = setTimeout(() => {
          one.hasGivenUp = true;
          reject(new InboxUnavailableError(`the database did not take the delivery within ${limitMs} ms`));
        }, limitMs);
        function settle<Value>(then: (value: Value) => void): (value: Value) => void {
          return (value) => {
            clearTimeout(timer);
            then(value);
          };
        }
        waiting.push(one);
        waitingBytes += delivery.body.length;
        commitSoon();
      });
    },
  };
}

export interface InboxOptions {
  pool: Pool;
  clock: Clock;
  /** How far Ring's clock and ours may be apart, in ms. An event that claims to be later than that happens now. */
  clockSkewMs: number;
  /** Called after each commit, with the Ring accounts for which it brought something that can be applied now. */
  onReady: (accountIds: readonly string[]) => void;
  /** How long a delivery may wait for its commit, in ms. */
  limitMs?: number;
}

/**
 * SQL: stores the deliveries that are new, and finds their accounts that have something to apply now. The events of the
 * others wait for a link.
 *
 * - IDs are drawn before anything is sorted: they are the order of arrival.
 * - Rows go in by idempotency key, so that two instances with the same deliveries can't wait for each other in a circle.
 * - A duplicate that another instance is just storing is waited for: when this ends, it is committed.
 * - Its text is constant and its values are arrays, so that Postgres plans the statement once for batches of any size.
 */
function storeStatement(batch: readonly Delivery[], { now, clockSkewMs }: { now: Date; clockSkewMs: number }): Sql {
  const latest = new Date(now.getTime() + clockSkewMs);
  const events = batch.map(({ event }) => event);
  const requestIds = events.map((event) => event.requestId);
  const accountIds = events.map((event) => event.accountId);
  const types = events.map((event) => (event.type === 'unknown' ? event.typeName : event.type));
  const statuses = events.map((event) => (event.type === 'unknown' ? 'UNKNOWN_TYPE' : 'PENDING'));
  // A timestamp of the far future would be newer than everything that happens until then.
  const occurredAt = events.map((event) => (event.occurredAt > latest ? now : event.occurredAt));
  const bodies = batch.map(({ body }) => body);
  const deviceIds = events.map((event) => ('deviceId' in event ? event.deviceId : null));
  return sql`
  WITH arrived AS MATERIALIZED (
    SELECT ${NEXT_ARRIVAL} AS id, delivery.*
      FROM unnest(${requestIds}::uuid[], ${accountIds}::text[], ${types}::text[], ${statuses}::text[],
                  ${occurredAt}::timestamptz[], ${bodies}::text[], ${deviceIds}::text[])
           AS delivery (request_id, account_id, type, status, occurred_at, body, device_id)
  ), stored AS (
    INSERT INTO webhook_events (id, request_id, account_id, type, status, occurred_at, body, device_id, received_at)
    SELECT id, request_id, account_id, type, status, occurred_at, body, device_id, ${now}
      FROM arrived ORDER BY request_id
    ON CONFLICT (request_id) DO NOTHING
    RETURNING request_id, account_id, type, status, occurred_at
  )
  SELECT array_agg(request_id::text) AS stored,
         array_agg(DISTINCT account_id) FILTER (WHERE status = 'PENDING' AND (
           type = 'app_integration_removed'
           OR EXISTS (SELECT 1 FROM account_links AS link
                       WHERE link.account_id = stored.account_id
                         AND (${isApplied('link')}
                              OR stored.occurred_at < greatest(link.removed_at, link.void_before))))) AS ready
    FROM stored`;
}

interface StoredBatch {
  /** The request IDs of the deliveries that were new. */
  stored: Set<string>;
  ready: readonly string[];
}

async function storeBatch(
  pool: Pool,
  { limitMs, ...time }: { now: Date; clockSkewMs: number; limitMs: number },
  batch: readonly Delivery[],
): Promise<StoredBatch> {
  const query = { name: 'store-webhooks', ...storeStatement(batch, time).numbered, query_timeout: limitMs };
  const { rows } = await pool.query<Record<'stored' | 'ready', string[] | null>>(query);
  return { stored: new Set(rows[0]?.stored), ready: rows[0]?.ready ?? [] };
}
