import { sql } from '../database/sql.js';

/**
 * SQL: groups of links, by their status.
 * - live: the link holds its Ring account, which no other link can have; see the index `account_links_live`.
 * - applied: events and answers of Ring for the account are applied.
 * - callable: the link has a token pair with which Ring can be called.
 * - usable: the link is complete, and Ring can be called for its devices.
 * - healable: a new pair makes the link whole. A link that was never completed lacks more than a pair.
 */
export const IS_LIVE = sql`status IN ('CONFIRMING', 'COMPLETED', 'REAUTH_REQUIRED')`;
export const IS_APPLIED = sql`status IN ('COMPLETED', 'REAUTH_REQUIRED')`;
export const IS_CALLABLE = sql`status IN ('CONFIRMING', 'COMPLETED')`;
export const IS_USABLE = sql`status = 'COMPLETED'`;
export const IS_HEALABLE = sql`(status = 'REAUTH_REQUIRED' AND completed_at IS NOT NULL)`;
