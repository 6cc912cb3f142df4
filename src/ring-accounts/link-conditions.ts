import { sql } from '../database/sql.js';

/**
 * SQL: which links count for what, by their status.
 * - live: it holds its Ring account, which no other link can have; see the index `account_links_live`.
 * - applied: what Ring tells of the account concerns it.
 * - callable: it has a token pair with which Ring can be called.
 * - usable: it is made, and Ring can be called for what it is there for.
 */
export const IS_LIVE = sql`status IN ('CONFIRMING', 'COMPLETED', 'REAUTH_REQUIRED')`;
export const IS_APPLIED = sql`status IN ('COMPLETED', 'REAUTH_REQUIRED')`;
export const IS_CALLABLE = sql`status IN ('CONFIRMING', 'COMPLETED')`;
export const IS_USABLE = sql`status = 'COMPLETED'`;
