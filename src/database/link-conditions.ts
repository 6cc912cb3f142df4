/**
 * SQL: which links count for what, by their status.
 * - live: it holds its Ring account, which no other link can have; see the index `account_links_live`.
 * - applied: what Ring tells of the account concerns it.
 * - usable: Ring can be called on its behalf.
 */
export const IS_LIVE = `status IN ('CONFIRMING', 'COMPLETED', 'REAUTH_REQUIRED')`;
export const IS_APPLIED = `status IN ('COMPLETED', 'REAUTH_REQUIRED')`;
export const IS_USABLE = `status = 'COMPLETED'`;
