import { type KeyObject, randomUUID } from 'node:crypto';
import type { Knex } from 'knex';
import type { Core } from '../core.js';
import { row, rows, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { voidEventsBeforePair } from '../inbox/event-rows.js';
import { removeAllDevices } from '../inventory/removal.js';
import { eraseSubscriptions } from '../inventory/subscriptions.js';
import { lockAccount } from '../ring-accounts/account-lock.js';
import { isLive } from '../ring-accounts/link-conditions.js';
import { insertLink, type RedirectColumns, renewLink, replaceNonce } from '../ring-accounts/link-rows.js';
import { maskEmail } from '../ring/account-identifier.js';
import { claimPair, revokePair } from '../tokens/pair-rows.js';
import { redirectPlace } from '../tokens/places.js';
import type { Vault } from '../tokens/vault.js';
import { lockUser } from '../users/users.js';
import { enqueueConfirmation } from './confirm.js';
import { nonceCheck, type NonceMatcher } from './match.js';
import { nonceDigest, type Redirect } from './redirect.js';
import { sealRedirect } from './sealed-redirect.js';

type LinkRow = Tables['account_links'];

export interface ClaimDependencies extends Pick<Core, 'db' | 'vault' | 'clock'> {
  matchNonce: NonceMatcher;
  hmacKey: KeyObject;
}

/** The signed-in user for whom a pair is claimed. */
export interface Claimant {
  userId: string;
}

/**
 * - `claimed`: the pair is the claimant's, and the link on its way.
 * - `made-already`: this very nonce has made this link of the claimant's.
 * - `resumed`: the claimant's link was stuck, and goes on with this nonce.
 * - `not-renewed`: the account is linked to the claimant, and Ring has sent no new pair, or not yet.
 * - `user-deleted`: the claimant was deleted in another window meanwhile.
 */
export type ClaimResult =
  | { kind: 'claimed' | 'made-already' | 'resumed' | 'not-renewed'; linkId: string }
  | { kind: 'linked-by-someone-else' }
  | { kind: 'no-match' }
  | { kind: 'user-deleted' };

/**
 * Matches a redirect against the pool and claims the pair that it was signed for. Of any number of simultaneous claims
 * exactly one is `claimed`. That one leaves behind, in one transaction, the claimed pair, the link and the durable job
 * that finishes it with Ring. The caller has verified that the redirect is fresh and that the user is signed in.
 */
export async function claim(
  dependencies: ClaimDependencies,
  claimant: Claimant,
  redirect: Redirect,
): Promise<ClaimResult> {
  const { db, matchNonce } = dependencies;
  const accountId = await matchNonce(redirect);
  if (accountId !== undefined) {
    const result = await db.transaction((trx) => claimAccount(trx, dependencies, claimant, redirect, accountId));
    if (result !== 'lost') return result;
  }
  return explainNoMatch(dependencies, claimant, redirect);
}

async function claimAccount(
  trx: Knex.Transaction,
  { vault, clock }: Pick<ClaimDependencies, 'vault' | 'clock'>,
  { userId }: Claimant,
  redirect: Redirect,
  accountId: string,
): Promise<ClaimResult | 'lost'> {
  // With the lock, a transaction that deletes the user or changes the e-mail sees this link, or comes before it.
  const user = await lockUser(trx, userId, 'to stay');
  if (user === undefined) return { kind: 'user-deleted' };
  // Links of one account change one at a time. A lock of the rows would miss a link that is only being inserted.
  await lockAccount(trx, accountId);
  const current = await row<Pick<LinkRow, 'id' | 'user_id' | 'token_id'>>(
    trx,
    sql`SELECT id, user_id, token_id FROM account_links WHERE account_id = ${accountId} AND ${isLive()}`,
  );
  if (current !== undefined && current.user_id !== userId) return { kind: 'linked-by-someone-else' };

  // A nonce makes one link. Only a link that still waits for Ring may go on with a newer pair under the same nonce.
  const used = await row(
    trx,
    sql`SELECT 1 FROM account_links WHERE nonce_digest = ${nonceDigest(redirect.nonce)} AND status <> 'CONFIRMING'`,
  );
  if (used !== undefined) return 'lost';

  const now = clock();
  // When Ring signed the redirect, the app was installed.
  const tokenId = await claimPair(trx, accountId, new Date(Number(redirect.time)), now);
  if (tokenId === undefined) return 'lost';

  const linkId = current?.id ?? randomUUID();
  const link = {
    id: linkId,
    token_id: tokenId,
    account_identifier: maskEmail(user.email),
    ...redirectColumns(vault, redirect, linkId),
  };
  if (current === undefined) {
    // Nothing that came through an earlier link may be left for the user of the next one.
    await removeAllDevices(trx, accountId, now);
    await eraseSubscriptions(trx, accountId);
    await voidEventsBeforePair(trx, accountId, tokenId, now);
    await insertLink(trx, { ...link, user_id: user.id, account_id: accountId }, now);
  } else {
    await renewLink(trx, link, now);
    await revokePair(trx, current.token_id);
  }
  await enqueueConfirmation(trx, link);
  return { kind: 'claimed', linkId };
}

function redirectColumns(vault: Vault, redirect: Redirect, linkId: string): RedirectColumns {
  const { keyId, ciphertext } = sealRedirect(vault, redirect, redirectPlace(linkId));
  return { nonce_digest: nonceDigest(redirect.nonce), request_key_id: keyId, request_ciphertext: ciphertext };
}

/** Why nothing in the pool fits: this very nonce was used already, or the account is linked and Ring sent no new code. */
async function explainNoMatch(
  dependencies: ClaimDependencies,
  { userId }: Claimant,
  redirect: Redirect,
): Promise<ClaimResult> {
  const { db, hmacKey } = dependencies;
  const used = await row<Pick<LinkRow, 'id' | 'user_id'>>(
    db,
    sql`SELECT id, user_id FROM account_links
         WHERE nonce_digest = ${nonceDigest(redirect.nonce)} AND (user_id = ${userId} OR ${isLive()})
         ORDER BY created_at DESC LIMIT 1`,
  );
  if (used !== undefined && used.user_id !== userId) return { kind: 'linked-by-someone-else' };
  if (used !== undefined) return { kind: 'made-already', linkId: used.id };

  const own = await rows<Pick<LinkRow, 'id' | 'account_id' | 'token_id'>>(
    db,
    sql`SELECT id, account_id, token_id FROM account_links WHERE user_id = ${userId} AND ${isLive()}`,
  );
  const isSigned = nonceCheck(hmacKey, redirect);
  const linked = own.find((link) => isSigned(link.account_id));
  if (linked === undefined) return { kind: 'no-match' };
  const isResumed = await resumeLink(dependencies, redirect, linked);
  return { kind: isResumed ? 'resumed' : 'not-renewed', linkId: linked.id };
}

/** Longer than a nonce lives. */
const LATELY_MS = 15 * 60_000;
/** Limits the work. More removals than this are not expected within that time. */
const MOST_REMOVALS = 1_000;

/**
 * Whether Ring has lately told us that the app was removed from the account for which it signed the redirect. For a redirect
 * that nothing in the pool fits. A live link of the account means that the app is there again.
 */
export async function wasRemovedLately(
  { db, hmacKey, clock }: Pick<ClaimDependencies, 'db' | 'hmacKey' | 'clock'>,
  redirect: Redirect,
): Promise<boolean> {
  const receivedAfter = new Date(clock().getTime() - LATELY_MS);
  const removed = await rows<Pick<Tables['webhook_events'], 'account_id'>>(
    db,
    sql`SELECT account_id FROM webhook_events AS event
         WHERE type = 'app_integration_removed' AND received_at > ${receivedAfter}
           AND NOT EXISTS (SELECT 1 FROM account_links AS link
                            WHERE link.account_id = event.account_id AND ${isLive('link')})
         ORDER BY received_at DESC LIMIT ${MOST_REMOVALS}`,
  );
  const isSigned = nonceCheck(hmacKey, redirect);
  return removed.filter(({ account_id }) => isSigned(account_id)).length > 0;
}

/**
 * Lets a stuck link go on with the nonce of this redirect. When a user whose link is stuck because Ring was away taps "Sign
 * In" again, Ring sends no new code, but a fresh nonce. The one that we hold may be too old for Ring by now.
 */
async function resumeLink(
  { db, vault, clock }: Pick<ClaimDependencies, 'db' | 'vault' | 'clock'>,
  redirect: Redirect,
  link: Pick<LinkRow, 'id' | 'token_id'>,
): Promise<boolean> {
  const columns = redirectColumns(vault, redirect, link.id);
  return db.transaction(async (trx) => {
    const isStuck = await replaceNonce(trx, link, columns, clock());
    if (isStuck) await enqueueConfirmation(trx, link);
    return isStuck;
  });
}
