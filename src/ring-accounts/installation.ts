import type { Knex } from 'knex';
import { row } from '../database/database.js';
import { IS_LIVE } from './link-conditions.js';

/**
 * SQL: the next place in the order of arrival, in which webhook events and pairs stand together. A sequence, because
 * it is one for all instances; their clocks are not.
 */
export const NEXT_ARRIVAL = `nextval('webhook_events_id_seq')`;

/**
 * SQL: an `event` was received before the pair of a `token` was stored, so it tells of an earlier installation. While the
 * code is exchanged, the order leaves that open. Then the pair is kept: should it be dead, Ring says so when it is used.
 */
const CAME_BEFORE_PAIR = 'event.id < token.arrival';

/**
 * SQL: an `event` tells of the installation that has brought a `token`. Their order of arrival decides; where it leaves
 * that open, because an event may come late, decides when it happened.
 *
 * Ring's clock says when that was. `installed_since` is by Ring's clock, too, as soon as the pair is claimed: the user's
 * redirect was signed for an account that had the app. Until then it is by ours, less the skew.
 */
export const TELLS_OF_INSTALLATION = `
  (NOT ${CAME_BEFORE_PAIR} AND event.occurred_at >= coalesce(token.installed_since, token.created_at))`;

/** An event in the inbox. */
export interface ReceivedEvent {
  accountId: string;
  requestId: string;
}

/** The account's live link, if the event tells of the installation that it was made for. */
export function linkToldOf(trx: Knex, event: ReceivedEvent): Promise<{ id: string; token_id: string } | undefined> {
  return liveLink(trx, event, TELLS_OF_INSTALLATION);
}

/** Whether the event was received before the installation that the account's live link was made for. */
export async function cameBeforeLink(trx: Knex, event: ReceivedEvent): Promise<boolean> {
  return (await liveLink(trx, event, CAME_BEFORE_PAIR)) !== undefined;
}

function liveLink(
  trx: Knex,
  { accountId, requestId }: ReceivedEvent,
  condition: string,
): Promise<{ id: string; token_id: string } | undefined> {
  return row(
    trx,
    `SELECT link.id, link.token_id
       FROM account_links AS link
       JOIN ring_tokens AS token ON token.id = link.token_id
       JOIN webhook_events AS event ON event.request_id = ?
      WHERE link.account_id = ? AND link.${IS_LIVE} AND ${condition}
        FOR UPDATE OF link`,
    [requestId, accountId],
  );
}
