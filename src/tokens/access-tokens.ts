import type { Knex } from 'knex';
import { row } from '../database/database.js';
import { IS_CALLABLE, IS_USABLE } from '../database/link-conditions.js';
import { RingError } from '../ring/errors.js';
import { NoLinkError } from './errors.js';
import { createRefresh, type Refresh, type RefreshDependencies } from './refresh.js';
import type { SeenPair } from './refresh-rows.js';
import { openAccessToken } from './token-pairs.js';
import type { Vault } from './vault.js';

/** A call to Ring that needs an access token. */
export type AuthorizedCall<Answer> = (accessToken: string) => Promise<Answer>;

/**
 * The one way to call Ring on behalf of a link: with an access token that is valid, refreshed before it runs out and, when
 * Ring refuses it with 401 all the same, once more; then the call is repeated once.
 *
 * Throws what the call throws; {@link NotRefreshedError} when the token has run out and can't be refreshed now;
 * {@link NoLinkError} when there is no link (any more) on whose behalf Ring could be called; and {@link VaultError} when
 * the token can't be opened.
 */
export interface AccessTokens {
  /** On behalf of an account's completed link. */
  forAccount<Answer>(accountId: string, call: AuthorizedCall<Answer>): Promise<Answer>;
  /** With one claimed pair, also while its link is still being confirmed. */
  forPair<Answer>(tokenId: string, call: AuthorizedCall<Answer>): Promise<Answer>;
  /** Replaces a pair before it is needed. */
  refresh: Refresh;
  /** Waits for the refreshes that are under way, however they end. */
  settled(): Promise<void>;
}

const REFRESH_BEFORE_MS = 5 * 60_000;

interface Pair extends SeenPair {
  accessToken: string;
  expiresAt: Date;
}

type Find = () => Promise<Pair>;

export function createAccessTokens(dependencies: RefreshDependencies): AccessTokens {
  const { database, vault, clock } = dependencies;
  const { refresh, settled } = createRefresh(dependencies);

  async function use<Answer>(find: Find, call: AuthorizedCall<Answer>): Promise<Answer> {
    const pair = await fresh(find);
    try {
      return await call(pair.accessToken);
    } catch (error) {
      if (!(error instanceof RingError && error.status === 401)) throw error;
      // Whoever was faster has replaced it already: then this returns at once.
      await refresh(pair);
      return call((await find()).accessToken);
    }
  }

  /** A pair whose access token holds for a while; or one that holds just yet, when Ring can't be asked for another. */
  async function fresh(find: Find): Promise<Pair> {
    const pair = await find();
    const now = clock().getTime();
    if (pair.expiresAt.getTime() - now > REFRESH_BEFORE_MS) return pair;
    try {
      await refresh(pair);
    } catch (error) {
      if (error instanceof RingError && pair.expiresAt.getTime() > now) return pair;
      throw error;
    }
    return find();
  }

  return {
    forAccount: (accountId, call) =>
      use(() => findPair(database, vault, `link.account_id = ? AND link.${IS_USABLE}`, accountId), call),
    forPair: (tokenId, call) =>
      use(() => findPair(database, vault, `token.id = ? AND link.${IS_CALLABLE}`, tokenId), call),
    refresh,
    settled,
  };
}

async function findPair(database: Knex, vault: Vault, condition: string, id: string): Promise<Pair> {
  const token = await row<{
    id: string;
    generation: number;
    key_id: string;
    access_token_ciphertext: Buffer;
    access_token_expires_at: Date;
  }>(
    database,
    `SELECT token.id, token.generation, token.key_id, token.access_token_ciphertext, token.access_token_expires_at
       FROM account_links link JOIN ring_tokens token ON token.id = link.token_id
      WHERE ${condition} AND token.status = 'CLAIMED'`,
    [id],
  );
  if (token === undefined) throw new NoLinkError('there is no link on whose behalf Ring could be called');
  return {
    id: token.id,
    generation: token.generation,
    accessToken: openAccessToken(vault, token.id, token),
    expiresAt: token.access_token_expires_at,
  };
}
