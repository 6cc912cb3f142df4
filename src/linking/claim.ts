import { type KeyObject, randomUUID } from 'node:crypto';
import type { Knex } from 'knex';
import { lockUser, type User } from '../users/users.js';
import { lockAccount } from '../ring-accounts/account-lock.js';
import { type Database, row, rows } from '../database/database.js';
import { IS_LIVE } from '../ring-accounts/link-conditions.js';
import { removeAllDevices } from '../inventory/removal.js';
import { HttpError } from '../http/errors.js';
import { enqueue } from '../jobs/enqueue.js';
import { maskEmail } from '../ring/account-identifier.js';
import { linkRequestPlace } from '../tokens/places.js';
import { ERASE } from '../tokens/token-pairs.js';
import type { Sealed } from '../tokens/vault.js';
import { CONFIRM_LINK, confirmationKey } from './confirm.js';
import { type LinkRequest, nonceDigest } from './redirect.js';
import { type MatchReport, matchNonce, nonceCheck } from './match.js';
import { sealRequest } from './sealed-redirect.js';
import type { Core } from '../core.js';

export interface ClaimDependencies extends Pick<Core, 'vault' | 'clock'> {
  database: Database;
  hmacKey: KeyObject;
  /** Hears of each walk through the pool. */
  onMatched: (report: MatchReport) => void;
}

/** The signed-in partner user for whom a pair is claimed. */
export interface Claimant {
  userId: string;
}

/**
 * - `claimed`: the pair is the claimant's, and the link on its way.
 * - `made-already`: this very nonce has made this link of the claimant's.
 * - `resumed`: the claimant's link was stuck, and goes on with this nonce.
 * - `not-renewed`: the account is linked to the claimant, and Ring has sent no new pair, or not yet.
 */
export type ClaimResult =
  | { kind: 'claimed' | 'made-already' | 'resumed' | 'not-renewed'; linkId: string }
  | { kind: 'linked-by-someone-else' }
  | { kind: 'no-match' };

/**
 * Matches a request against the pool and claims the pair that it was signed for. Of any number of simultaneous claims
 * exactly one is `claimed`; that one leaves behind, in one transaction, the claimed pair, the link and the durable job
 * that finishes it with Ring. The caller has checked that the request is fresh and that the user is signed in.
 */
export async function claim(
  dependencies: ClaimDependencies,
  claimant: Claimant,
  request: LinkRequest,
): Promise<ClaimResult> {
  const { database, hmacKey } = dependencies;
  const accountId = await matchNonce(database.patientPool, hmacKey, request, dependencies.onMatched);
  if (accountId !== undefined) {
    const result = await database.knex.transaction((trx) => claimPair(trx, dependencies, claimant, request, accountId));
    if (result !== 'lost') return result;
  }
  return explainNoMatch(dependencies, claimant, request);
}

async function claimPair(
  trx: Knex.Transaction,
  dependencies: ClaimDependencies,
  claimant: Claimant,
  request: LinkRequest,
  accountId: string,
): Promise<ClaimResult | 'lost'> {
  // Whoever deletes the user, or changes the e-mail, sees this link or comes first.
  const user = await lockUser(trx, claimant.userId, 'to stay');
  if (user === undefined) throw accountDeleted();
  // Links of one account change one at a time; the row lock alone would not see a link that is only being inserted.
  await lockAccount(trx, accountId);
  const current = await row<{ id: string; user_id: string; token_id: string }>(
    trx,
    `SELECT id, user_id, token_id FROM account_links
      WHERE account_id = ? AND ${IS_LIVE}`,
    [accountId],
  );
  if (current !== undefined && current.user_id !== claimant.userId) return { kind: 'linked-by-someone-else' };

  // A nonce makes one link. Only a link that still waits for Ring may go on with a newer pair under the same nonce.
  const used = await row(trx, `SELECT 1 FROM account_links WHERE nonce_digest = ? AND status <> 'CONFIRMING'`, [
    nonceDigest(request.nonce),
  ]);
  if (used !== undefined) return 'lost';

  const token = await row<{ id: string }>(
    trx,
    `UPDATE ring_tokens SET status = 'CLAIMED', claimed_at = ?, installed_since = greatest(installed_since, ?)
      WHERE account_id = ? AND status = 'UNCLAIMED' RETURNING id`,
    // When Ring signed the redirect, the app was installed.
    [dependencies.clock(), new Date(Number(request.time)), accountId],
  );
  if (token === undefined) return 'lost';

  const linkId = current?.id ?? randomUUID();
  const sealed = sealRequest(dependencies.vault, request, linkRequestPlace(linkId));
  const link = { linkId, tokenId: token.id, accountId, sealed };
  const now = dependencies.clock();
  if (current === undefined) {
    // Nothing that came through an earlier link may be there for whoever makes the next one.
    await removeAllDevices(trx, accountId, now);
    await voidForgottenEvents(trx, accountId, token.id, now);
    await insertLink(trx, now, user, request, link);
  } else {
    await renewLink(trx, now, user, request, { ...link, formerTokenId: current.token_id });
  }
  await enqueueConfirmation(trx, linkId, token.id);
  return { kind: 'claimed', linkId };
}

/** In the course of what they were doing, in another window. */
export const accountDeleted = (): HttpError =>
  new HttpError(409, 'Your account was deleted in the meantime, and nothing is linked.');

interface NewLink {
  linkId: string;
  tokenId: string;
  accountId: string;
  /** The request, sealed for this link. */
  sealed: Sealed;
}

/**
 * What has waited since long before this installation was sent for nobody, or for somebody who has deleted the account here.
 * An installation's own events come some minutes before its pair at most, with all of Ring's retries.
 */
async function voidForgottenEvents(trx: Knex, accountId: string, tokenId: string, now: Date): Promise<void> {
  await trx.raw(
    `UPDATE webhook_events SET status = 'PROCESSED', processed_at = ?, body = NULL
      WHERE account_id = ? AND status IN ('PENDING', 'FAILED') AND type <> 'app_integration_removed'
        AND received_at < (SELECT created_at FROM ring_tokens WHERE id = ?) - interval '10 minutes'`,
    [now, accountId, tokenId],
  );
}

async function insertLink(
  trx: Knex,
  now: Date,
  user: User,
  request: LinkRequest,
  { linkId, tokenId, accountId, sealed }: NewLink,
): Promise<void> {
  await trx.raw(
    `INSERT INTO account_links (id, user_id, account_id, token_id, status, confirmation_step, account_identifier,
                                nonce_digest, request_key_id, request_ciphertext, created_at, updated_at, void_before)
     VALUES (?, ?, ?, ?, 'CONFIRMING', 'CLAIMED', ?, ?, ?, ?, ?, ?,
             (SELECT max(removed_at) FROM account_links WHERE account_id = ?))`,
    [
      linkId,
      user.id,
      accountId,
      tokenId,
      maskEmail(user.email),
      nonceDigest(request.nonce),
      sealed.keyId,
      sealed.ciphertext,
      now,
      now,
      accountId,
    ],
  );
}

/** The same user installed the app anew: the link goes on with the new pair, and the old one ends. */
async function renewLink(
  trx: Knex,
  now: Date,
  user: User,
  request: LinkRequest,
  { linkId, tokenId, sealed, formerTokenId }: NewLink & { formerTokenId: string },
): Promise<void> {
  await trx.raw(
    `UPDATE account_links SET token_id = ?, status = 'CONFIRMING', confirmation_step = 'CLAIMED', last_error = NULL,
            completed_at = NULL, ring_confirmed_at = NULL, account_identifier = ?, is_identifier_untold = false,
            nonce_digest = ?, request_key_id = ?, request_ciphertext = ?, updated_at = ?
      WHERE id = ?`,
    [tokenId, maskEmail(user.email), nonceDigest(request.nonce), sealed.keyId, sealed.ciphertext, now, linkId],
  );
  await trx.raw(`UPDATE ring_tokens SET status = 'REVOKED', ${ERASE} WHERE id = ?`, [formerTokenId]);
}

/** Why nothing in the pool fits: this very nonce was used already, or the account is linked and Ring sent no new code. */
async function explainNoMatch(
  dependencies: ClaimDependencies,
  claimant: Claimant,
  request: LinkRequest,
): Promise<ClaimResult> {
  const { database, hmacKey } = dependencies;
  const used = await row<{ id: string; user_id: string }>(
    database.knex,
    `SELECT id, user_id FROM account_links
      WHERE nonce_digest = ? AND (user_id = ? OR ${IS_LIVE})
      ORDER BY created_at DESC LIMIT 1`,
    [nonceDigest(request.nonce), claimant.userId],
  );
  if (used !== undefined && used.user_id !== claimant.userId) return { kind: 'linked-by-someone-else' };
  if (used !== undefined) return { kind: 'made-already', linkId: used.id };

  const own = await rows<{ id: string; account_id: string; token_id: string }>(
    database.knex,
    `SELECT id, account_id, token_id FROM account_links
      WHERE user_id = ? AND ${IS_LIVE}`,
    [claimant.userId],
  );
  const isSigned = nonceCheck(hmacKey, request);
  const linked = own.find((link) => isSigned(link.account_id));
  if (linked === undefined) return { kind: 'no-match' };
  const isResumed = await useFreshNonce(dependencies, request, linked);
  return { kind: isResumed ? 'resumed' : 'not-renewed', linkId: linked.id };
}

/** Longer than a nonce lives. */
const LATELY_MS = 15 * 60_000;
/** Bounds the work; more removals than this within that time are not expected. */
const MOST_REMOVALS = 1_000;

/**
 * Whether Ring has lately told us that the app was removed from the account for which it signed the request: for a request
 * that nothing in the pool fits. A live link of the account means that the app is there again.
 */
export async function wasRemovedLately(
  { database, hmacKey, clock }: Pick<ClaimDependencies, 'database' | 'hmacKey' | 'clock'>,
  request: LinkRequest,
): Promise<boolean> {
  const removed = await rows<{ account_id: string }>(
    database.knex,
    `SELECT account_id FROM webhook_events AS event
      WHERE type = 'app_integration_removed' AND received_at > ?
        AND NOT EXISTS (SELECT 1 FROM account_links AS link WHERE link.account_id = event.account_id AND link.${IS_LIVE})
      ORDER BY received_at DESC LIMIT ?`,
    [new Date(clock().getTime() - LATELY_MS), MOST_REMOVALS],
  );
  const isSigned = nonceCheck(hmacKey, request);
  return removed.filter(({ account_id }) => isSigned(account_id)).length > 0;
}

/**
 * Someone whose link is stuck because Ring was away taps "Sign In" again: Ring sends no new code then, but a fresh nonce,
 * and the one that we hold may be too old for Ring by now.
 */
async function useFreshNonce(
  { database, vault, clock }: ClaimDependencies,
  request: LinkRequest,
  link: { id: string; token_id: string },
): Promise<boolean> {
  const sealed = sealRequest(vault, request, linkRequestPlace(link.id));
  return database.knex.transaction(async (trx) => {
    const stuck = await row(
      trx,
      `UPDATE account_links SET nonce_digest = ?, request_key_id = ?, request_ciphertext = ?, last_error = NULL,
              updated_at = ?
        WHERE id = ? AND token_id = ? AND status = 'CONFIRMING' AND confirmation_step IN ('CLAIMED', 'POSTING', 'PROBING')
       RETURNING 1`,
      [nonceDigest(request.nonce), sealed.keyId, sealed.ciphertext, clock(), link.id, link.token_id],
    );
    if (stuck !== undefined) await enqueueConfirmation(trx, link.id, link.token_id);
    return stuck !== undefined;
  });
}

function enqueueConfirmation(on: Knex, linkId: string, tokenId: string): Promise<void> {
  return enqueue(on, CONFIRM_LINK, { linkId, tokenId, attempt: 1 }, { key: confirmationKey(linkId) });
}
