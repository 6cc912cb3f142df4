import type { Knex } from 'knex';
import { rows, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { isApplied } from '../ring-accounts/link-conditions.js';
import type { LinkState } from '../ring-accounts/link-state.js';

export type PendingEvent = Pick<
  Tables['webhook_events'],
  'id' | 'type' | 'occurred_at' | 'request_id' | 'account_id' | 'attempts'
> & {
  /** Only events that are not pending any more have lost their body. */
  body: string;
  /** How long it still has to wait after a failed attempt, in ms. */
  pause_ms: number;
};

/** The next events of an account. */
export interface NextEvents {
  events: PendingEvent[];
  /** Whether there may be more, for which there was no room. */
  isCut: boolean;
}

/** How much is read of one account. */
export interface Portion {
  events: number;
  /** Bytes of bodies, which the last event may exceed. */
  bytes: number;
}

/**
 * The next events of each account in the order of arrival, but the end of an integration alone and first, because the others
 * become void with it. For an account that is not linked, only that end, and events that are void already.
 *
 * @param links the state of each account, whose lock the caller holds
 * @param portion the most of each account
 */
export async function nextEvents(
  trx: Knex.Transaction,
  links: ReadonlyMap<string, LinkState>,
  portion: Portion,
): Promise<Map<string, NextEvents>> {
  const accountIds = [...links.keys()];
  const states = [...links.values()];
  const columns = sql`id, request_id, account_id, type, body, occurred_at, attempts,
                      coalesce(extract(epoch FROM retry_at - now()) * 1000, 0)::float AS pause_ms`;
  // The two parts have an index each, in its order: an account may have any number of pending events.
  const found = await rows<PendingEvent & { bytes: number }>(
    trx,
    sql`SELECT event.*
          FROM unnest(${accountIds}::text[], ${states.map(({ isLinked }) => isLinked)}::boolean[],
                      ${states.map(({ voidBefore }) => voidBefore)}::timestamptz[])
               AS account (id, is_linked, void_before)
         CROSS JOIN LATERAL (
           (SELECT ${columns}, 0 AS bytes FROM webhook_events
             WHERE account_id = account.id AND status = 'PENDING' AND type = 'app_integration_removed'
             ORDER BY id LIMIT 1)
           UNION ALL
           (SELECT ${columns}, sum(octet_length(body)) OVER (ORDER BY id)::float AS bytes FROM webhook_events
             WHERE account_id = account.id AND status = 'PENDING' AND type <> 'app_integration_removed'
               AND (account.is_linked OR account.void_before IS NOT NULL)
               AND (account.is_linked OR occurred_at < account.void_before)
             ORDER BY id LIMIT ${portion.events})) AS event
         WHERE event.bytes - octet_length(event.body) < ${portion.bytes}
         ORDER BY event.type <> 'app_integration_removed', event.id`,
  );
  const next = new Map<string, NextEvents>(accountIds.map((accountId) => [accountId, { events: [], isCut: false }]));
  for (const { bytes, ...event } of found) {
    const account = next.get(event.account_id);
    if (account === undefined || account.events[0]?.type === 'app_integration_removed') continue;
    account.events.push(event);
    account.isCut = account.events.length === portion.events || bytes >= portion.bytes;
  }
  return next;
}

/**
 * The number of an account's pending events among which a sweep looks for void ones. More of them are found when these are
 * gone.
 */
const LOOKED_AT = 100;

/**
 * The accounts that have something to apply now, `limit` at most. It takes one look at the index for each account that has
 * pending events, however many these are. Instances take turns: it finds none while another one is asking.
 */
export async function accountsToApply(db: Knex, limit: number): Promise<string[]> {
  const isDue = sql`(retry_at IS NULL OR retry_at <= now())`;
  const found = await rows<Pick<Tables['webhook_events'], 'account_id'>>(
    db,
    sql`WITH RECURSIVE turn AS MATERIALIZED (
          SELECT pg_try_advisory_xact_lock(hashtextextended('sweep of the inbox', 2)) AS is_ours
        ), account AS (
          SELECT (SELECT min(account_id) FROM webhook_events WHERE status = 'PENDING') AS id FROM turn WHERE is_ours
          UNION ALL
          SELECT (SELECT min(account_id) FROM webhook_events WHERE status = 'PENDING' AND account_id > account.id)
            FROM account WHERE account.id IS NOT NULL
        )
        SELECT account.id AS account_id
          FROM account
         CROSS JOIN LATERAL (
           SELECT bool_or(${isApplied('link')}) AS is_linked,
                  greatest(max(link.removed_at), max(link.void_before)) AS void_before
             FROM account_links AS link WHERE link.account_id = account.id) AS state
         WHERE EXISTS (SELECT 1 FROM webhook_events
                        WHERE account_id = account.id AND status = 'PENDING' AND type = 'app_integration_removed'
                          AND ${isDue})
            OR (state.is_linked
                AND (SELECT ${isDue} FROM webhook_events
                      WHERE account_id = account.id AND status = 'PENDING' ORDER BY id LIMIT 1))
            OR (state.void_before IS NOT NULL
                AND EXISTS (SELECT 1 FROM (SELECT occurred_at FROM webhook_events
                                            WHERE account_id = account.id AND status = 'PENDING'
                                            ORDER BY id LIMIT ${LOOKED_AT}) AS first
                             WHERE occurred_at < state.void_before))
         LIMIT ${limit}`,
  );
  return found.map(({ account_id }) => account_id);
}
