import type { Knex } from 'knex';
import { row, type Sql, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { isLive } from './link-conditions.js';

/**
 * SQL: the next place in the order of arrival, which webhook events and pairs share. It comes from a sequence because all
 * instances share that, while their clocks differ.
 */
export const NEXT_ARRIVAL = sql`nextval('webhook_events_id_seq')`;

/**
 * SQL: an `event` was received before the pair of a `token` was stored, so it tells of an earlier installation. For an event
 * that arrives while the code is being exchanged, this order says nothing. The pair is kept then: if it is dead, Ring says so
 * when it is used.
 */
const CAME_BEFORE_PAIR = sql`event.id < token.arrival`;

/**
 * SQL: an `event` tells of the installation that has brought a `token`. The order of arrival decides first. An event may
 * come late, though: where it came after the pair, the time at which it happened decides.
 *
 * Events have Ring's time. So has `installed_since` once the pair is claimed, because Ring signed the user's redirect for an
 * account that had the app. Until then it is our time, less the skew.
 */
export const TELLS_OF_INSTALLATION = sql`
  (NOT ${CAME_BEFORE_PAIR} AND event.occurred_at >= coalesce(token.installed_since, token.created_at))`;

/** An event in the inbox. */
export interface ReceivedEvent {
  accountId: string;
  requestId: string;
}

type LinkedPair = Pick<Tables['account_links'], 'id' | 'token_id'>;

/** Locks the account's live link, if the event tells of the installation that it was made for. */
export function linkToldOf(trx: Knex.Transaction, event: ReceivedEvent): Promise<LinkedPair | undefined> {
  return lockLiveLink(trx, event, TELLS_OF_INSTALLATION);
}

/** Whether the event was received before the installation that the account's live link was made for. Locks that link. */
export async function cameBeforeLink(trx: Knex.Transaction, event: ReceivedEvent): Promise<boolean> {
  return (await lockLiveLink(trx, event, CAME_BEFORE_PAIR)) !== undefined;
}

function lockLiveLink(
  trx: Knex.Transaction,
  { accountId, requestId }: ReceivedEvent,
  condition: Sql,
): Promise<LinkedPair | undefined> {
  return row<LinkedPair>(
    trx,
    sql`SELECT link.id, link.token_id
          FROM account_links AS link
          JOIN ring_tokens AS token ON token.id = link.token_id
          JOIN webhook_events AS event ON event.request_id = ${requestId}
         WHERE link.account_id = ${accountId} AND ${isLive('link')} AND ${condition}
           FOR UPDATE OF link`,
  );
}
