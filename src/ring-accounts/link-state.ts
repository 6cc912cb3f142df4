import type { Knex } from 'knex';
import { rows, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { isApplied } from './link-conditions.js';

/** What the links of a Ring account mean for its events. */
export interface LinkState {
  /** Whether there is a link to apply events to. */
  isLinked: boolean;
  /** Until when a former link lasted: an event that happened before that and arrives late does not concern the present one. */
  voidBefore: Tables['account_links']['void_before'];
}

type LinkRow = Pick<Tables['account_links'], 'account_id' | 'removed_at' | 'void_before'> & { is_applied: boolean };

/**
 * Locks the links of Ring accounts until the end of the transaction, and tells the state of each account. The caller holds the
 * accounts' locks, so none gets a link meanwhile.
 */
export async function lockLinkStates(
  trx: Knex.Transaction,
  accountIds: readonly string[],
): Promise<Map<string, LinkState>> {
  // In one order, because other transactions lock several links, too.
  const links = await rows<LinkRow>(
    trx,
    sql`SELECT account_id, ${isApplied()} AS is_applied, removed_at, void_before
          FROM account_links WHERE account_id = ANY (${accountIds}::text[]) ORDER BY id FOR UPDATE`,
  );
  const states = new Map<string, LinkState>(accountIds.map((id) => [id, { isLinked: false, voidBefore: null }]));
  for (const link of links) {
    const state = states.get(link.account_id);
    if (state === undefined) continue;
    state.isLinked ||= link.is_applied;
    for (const end of [link.removed_at, link.void_before]) {
      if (end !== null && (state.voidBefore === null || end > state.voidBefore)) state.voidBefore = end;
    }
  }
  return states;
}
