import { sql } from '../database/sql.js';
import { isLive } from '../ring-accounts/link-conditions.js';

/**
 * SQL: the user for whose link an `event` of the inbox has come. If the account has had several links, it is the first that
 * had not ended by then.
 */
export const USER_OF_EVENT = sql`
  SELECT link.user_id FROM account_links AS link
   WHERE link.account_id = event.account_id AND (${isLive('link')} OR link.updated_at >= event.received_at)
   ORDER BY link.created_at, link.id LIMIT 1`;
