import { type Sql, sql } from '../database/sql.js';

/** The names under which statements have `account_links`. Another one is a line here. */
const TABLE = { account_links: sql`account_links`, link: sql`link`, again: sql`again`, own: sql`own` };

/**
 * SQL: a condition on a link. Its columns carry the name of their table, so that they can't be taken for those of another one
 * in the same statement.
 */
type LinkCondition = (link?: keyof typeof TABLE) => Sql;

const hasStatus =
  (statuses: Sql): LinkCondition =>
  (link = 'account_links') =>
    sql`${TABLE[link]}.status IN (${statuses})`;

/** The link holds its Ring account, which no other link can have; see the index `account_links_live`. */
export const isLive = hasStatus(sql`'CONFIRMING', 'COMPLETED', 'REAUTH_REQUIRED'`);

/** Events and answers of Ring for the account are applied. */
export const isApplied = hasStatus(sql`'COMPLETED', 'REAUTH_REQUIRED'`);

/** The link has a token pair with which Ring can be called. */
export const isCallable = hasStatus(sql`'CONFIRMING', 'COMPLETED'`);

/** The link is complete, and Ring can be called for its devices. */
export const isUsable = hasStatus(sql`'COMPLETED'`);

/** A new pair makes the link whole. A link that was never completed lacks more than a pair. */
export const isHealable: LinkCondition = (link = 'account_links') =>
  sql`(${TABLE[link]}.status = 'REAUTH_REQUIRED' AND ${TABLE[link]}.completed_at IS NOT NULL)`;
