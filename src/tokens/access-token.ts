import type { Knex } from 'knex';
import { row } from '../database/database.js';
import { IS_USABLE } from '../database/link-conditions.js';
import { openAccessToken } from './token-pairs.js';
import type { Vault } from './vault.js';

/** There is no link on whose behalf Ring could be called: it is not completed, or it has ended. */
export class NoLinkError extends Error {
  override readonly name = 'NoLinkError';
}

/**
 * The access token with which Ring is called for an account.
 *
 * @throws {NoLinkError} when the account has no completed link
 */
export async function accessTokenOf(
  { database, vault }: { database: Knex; vault: Vault },
  accountId: string,
): Promise<string> {
  const token = await row<{ id: string; key_id: string; access_token_ciphertext: Buffer }>(
    database,
    `SELECT token.id, token.key_id, token.access_token_ciphertext
       FROM account_links link JOIN ring_tokens token ON token.id = link.token_id
      WHERE link.account_id = ? AND link.${IS_USABLE}`,
    [accountId],
  );
  if (token === undefined) throw new NoLinkError('the account has no completed link');
  return openAccessToken(vault, token.id, token);
}
