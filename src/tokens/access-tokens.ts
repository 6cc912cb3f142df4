import type { Knex } from 'knex';
import { row, type Sql, sql } from '../database/sql.js';
import { isCallable, isUsable } from '../ring-accounts/link-conditions.js';
import { RingError } from '../ring/errors.js';
import { within } from '../time/within.js';
import { NoLinkError, NotRefreshedError } from './errors.js';
import type { PairRow, SeenPair } from './pair-rows.js';
import { createRefresh, type Refresh, type RefreshDependencies } from './refresh.js';
import { openAccessToken, type SealedPair } from './token-pairs.js';
import type { Vault } from './vault.js';

/** A call to Ring that needs an access token. */
export type AuthorizedCall<Answer> = (accessToken: string) => Promise<Answer>;

/**
 * The one way to call Ring on behalf of a link. The access token is valid: it is refreshed before it runs out. When Ring
 * refuses it with 401 all the same, it is refreshed and the call repeated, once.
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
/** How long a caller waits for a new pair while the old one is still valid. */
const PATIENCE_MS = 1_000;
/** A token that is younger than this is not replaced when Ring refuses it: another would be refused, too. */
const YOUNG_MS = 60_000;

interface Pair extends SeenPair {
  accessToken: string;
  expiresAt: Date;
  refreshedAt: Date | null;
}

type Find = () => Promise<Pair>;

export function createAccessTokens(dependencies: RefreshDependencies): AccessTokens {
  const { db, vault, clock } = dependencies;
  const { refresh, settled } = createRefresh(dependencies);

  async function use<Answer>(find: Find, call: AuthorizedCall<Answer>): Promise<Answer> {
    const pair = await fresh(find);
    try {
      return await call(pair.accessToken);
    } catch (error) {
      if (!(error instanceof RingError && error.status === 401) || isYoung(pair)) throw error;
      // Returns at once when another caller has replaced it already.
      await refresh(pair);
      return call((await find()).accessToken);
    }
  }

  /** A pair whose access token is valid for a while, or for the moment when Ring can't be asked for another. */
  async function fresh(find: Find): Promise<Pair> {
    const pair = await find();
    const restMs = pair.expiresAt.getTime() - clock().getTime();
    if (restMs > REFRESH_BEFORE_MS) return pair;
    if (restMs <= 0) await refresh(pair);
    else await within(PATIENCE_MS, refresh(pair)).catch(ignoreNotRefreshed);
    return find();
  }

  const isYoung = ({ refreshedAt }: Pair): boolean =>
    refreshedAt !== null && clock().getTime() - refreshedAt.getTime() < YOUNG_MS;

  return {
    forAccount: (accountId, call) =>
      use(() => findPair(db, vault, sql`link.account_id = ${accountId} AND ${isUsable('link')}`), call),
    forPair: (tokenId, call) =>
      use(() => findPair(db, vault, sql`token.id = ${tokenId} AND ${isCallable('link')}`), call),
    refresh,
    settled,
  };
}

function ignoreNotRefreshed(error: unknown): void {
  if (!(error instanceof NotRefreshedError)) throw error;
}

async function findPair(db: Knex, vault: Vault, condition: Sql): Promise<Pair> {
  const token = await row<
    Pick<PairRow, 'id' | 'generation' | 'access_token_expires_at' | 'refreshed_at'> &
      Pick<SealedPair, 'key_id' | 'access_token_ciphertext'>
  >(
    db,
    sql`SELECT token.id, token.generation, token.key_id, token.access_token_ciphertext, token.access_token_expires_at,
               token.refreshed_at
          FROM account_links AS link JOIN ring_tokens AS token ON token.id = link.token_id
         WHERE ${condition} AND token.status = 'CLAIMED'`,
  );
  if (token === undefined) throw new NoLinkError('there is no link on whose behalf Ring could be called');
  return {
    id: token.id,
    generation: token.generation,
    accessToken: openAccessToken(vault, token.id, token),
    expiresAt: token.access_token_expires_at,
    refreshedAt: token.refreshed_at,
  };
}
