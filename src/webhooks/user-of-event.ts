import { IS_LIVE } from '../ring-accounts/link-conditions.js';

/**
 * SQL: whose link an `event` of the inbox has come for: the account's first that had not ended by then, should it have had
 * several.
 */
export const USER_OF_EVENT = `
  SELECT link.user_id FROM account_links AS link
   WHERE link.account_id = event.account_id AND (link.${IS_LIVE} OR link.updated_at >= event.received_at)
   ORDER BY link.created_at, link.id LIMIT 1`;
