import type { Knex } from 'knex';
import { row, sql } from '../database/sql.js';
import { isCallable, isHealable } from '../ring-accounts/link-conditions.js';
import { healLink, requireNewPair } from '../ring-accounts/link-rows.js';
import type { TokenPair } from '../ring/client.js';
import type { Clock } from '../time/clock.js';
import { NoLinkError } from './errors.js';
import { replacePair, revokeDeadPair, type SeenPair } from './pair-rows.js';
import { sealPair } from './token-pairs.js';
import type { Vault } from './vault.js';

export interface PairDependencies {
  db: Knex;
  vault: Vault;
  clock: Clock;
  /** Called when a link that seemed to need its user again is whole after all, in the transaction that heals it. */
  onHealed: (trx: Knex.Transaction, accountId: string) => Promise<void>;
}

/**
 * Stores the new pair in the place of the old one. If another instance has taken this one for dead meanwhile, asked Ring with
 * the old token and been refused, the new pair makes the link whole again.
 *
 * @throws {NoLinkError} when the link has ended, so that the pair is of no use
 */
export async function storeNewPair(
  { db, vault, onHealed }: PairDependencies,
  seen: SeenPair,
  newPair: TokenPair,
  answeredAt: Date,
): Promise<void> {
  const sealed = sealPair(vault, seen.id, newPair);
  await db.transaction(async (trx) => {
    // The link is locked before the pair, as in every transaction that ends a link. A condition on the link in the UPDATE of
    // the pair would see the link as of the statement's start, and miss an end that the statement had to wait for.
    const link = await row(
      trx,
      sql`SELECT 1 FROM account_links WHERE token_id = ${seen.id} AND (${isCallable()} OR ${isHealable()}) FOR UPDATE`,
    );
    if (link === undefined) throw new NoLinkError('the link has ended');
    const isReplaced = await replacePair(trx, seen, {
      ...sealed,
      scope: newPair.scope,
      access_token_expires_at: new Date(answeredAt.getTime() + newPair.expiresIn * 1_000),
      refreshed_at: answeredAt,
    });
    // Otherwise an earlier attempt of ours got through, and only its answer was lost.
    if (!isReplaced) return;
    const healedAccountId = await healLink(trx, seen.id, answeredAt);
    if (healedAccountId !== undefined) await onHealed(trx, healedAccountId);
  });
}

/**
 * Erases a dead pair, and leaves its link to the user, who has to make it again.
 *
 * @param pair without a generation: whichever is there
 */
export async function requireReauthorization(
  { db, clock }: Pick<PairDependencies, 'db' | 'clock'>,
  pair: Pick<SeenPair, 'id'> & Partial<SeenPair>,
  reason: string,
): Promise<void> {
  await db.transaction(async (trx) => {
    // The link is locked before the pair, as in every transaction that ends a link.
    const link = await row(
      trx,
      sql`SELECT 1 FROM account_links WHERE token_id = ${pair.id} AND ${isCallable()} FOR UPDATE`,
    );
    const isRevoked = await revokeDeadPair(trx, pair, reason);
    if (link !== undefined && isRevoked) await requireNewPair(trx, pair.id, reason, clock());
  });
}
