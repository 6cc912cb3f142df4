import type { Knex } from 'knex';
import { row, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { isUsable } from './link-conditions.js';

/**
 * When the Ring user shared the account with us, by our clock: when the pair of the present installation came. Ring gives no
 * picture, clip or event from before, and refuses a time that begins before it. Undefined without a link that can be used.
 *
 * @see https://developer.amazon.com/docs/ring/api-documentation.html
 */
export async function consentOf(on: Knex, accountId: string): Promise<Date | undefined> {
  const link = await row<Pick<Tables['ring_tokens'], 'created_at'>>(
    on,
    sql`SELECT token.created_at FROM account_links AS link JOIN ring_tokens AS token ON token.id = link.token_id
         WHERE link.account_id = ${accountId} AND ${isUsable('link')}`,
  );
  return link?.created_at;
}
