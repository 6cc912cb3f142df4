import type { Knex } from 'knex';
import { row, rows, run, type Sql, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { AFTER_EXPIRY_MS } from './coverage.js';
import { linkToldOf, type ReceivedEvent } from './installation.js';
import { isCallable, isHealable, isLive, isUsable } from './link-conditions.js';
import { NONCE_TOO_OLD } from './links.js';

/**
 * A link's row. All its transitions stand in this file. A link begins as `CONFIRMING`, and Ring's answer makes it `COMPLETED`
 * or `REFUSED`. A dead pair makes it `REAUTH_REQUIRED`, the user's removal of the app `REMOVED`. A new pair makes a live link
 * `CONFIRMING` again.
 */
type LinkRow = Tables['account_links'];

/** The columns that keep the redirect which a link is made with: sealed, because it could finish the link. */
export type RedirectColumns = Pick<LinkRow, 'nonce_digest'> & {
  [Column in 'request_key_id' | 'request_ciphertext']: NonNullable<LinkRow[Column]>;
};

/** SQL: the redirect has done its work. */
const ERASE_REDIRECT = sql`confirmation_step = NULL, request_key_id = NULL, request_ciphertext = NULL`;

/** A link that is being confirmed, and its pair. Either may change while Ring is asked. */
type Confirming = Pick<LinkRow, 'id' | 'token_id'>;

/** SQL: the link is still being confirmed, with the same pair. */
export const isConfirming = ({ id, token_id }: Confirming): Sql =>
  sql`id = ${id} AND token_id = ${token_id} AND status = 'CONFIRMING'`;

type NewLink = Pick<LinkRow, 'id' | 'user_id' | 'account_id' | 'token_id' | 'account_identifier'> & RedirectColumns;

/**
 * Adds a link, still to be confirmed by Ring. Events from before its account's last removal are void for it. The caller holds
 * the account's lock.
 */
export async function insertLink(trx: Knex.Transaction, link: NewLink, now: Date): Promise<void> {
  const former = await row<Pick<LinkRow, 'removed_at'>>(
    trx,
    sql`SELECT max(removed_at) AS removed_at FROM account_links WHERE account_id = ${link.account_id}`,
  );
  await trx('account_links').insert({
    id: link.id,
    user_id: link.user_id,
    account_id: link.account_id,
    token_id: link.token_id,
    account_identifier: link.account_identifier,
    nonce_digest: link.nonce_digest,
    request_key_id: link.request_key_id,
    request_ciphertext: link.request_ciphertext,
    status: 'CONFIRMING',
    confirmation_step: 'CLAIMED',
    void_before: former?.removed_at ?? null,
    created_at: now,
    updated_at: now,
  });
}

/** Begins a live link anew with another pair, because its user has installed the app again. */
export async function renewLink(
  trx: Knex.Transaction,
  link: Omit<NewLink, 'user_id' | 'account_id'>,
  now: Date,
): Promise<void> {
  await run(
    trx,
    sql`UPDATE account_links
           SET token_id = ${link.token_id}, status = 'CONFIRMING', confirmation_step = 'CLAIMED', last_error = NULL,
               completed_at = NULL, ring_confirmed_at = NULL,
               account_identifier = ${link.account_identifier}, is_identifier_untold = false,
               nonce_digest = ${link.nonce_digest}, request_key_id = ${link.request_key_id},
               request_ciphertext = ${link.request_ciphertext}, updated_at = ${now}
         WHERE id = ${link.id}`,
  );
}

/** Gives a link that is being confirmed a fresh nonce. @returns false when the link needs none any more */
export async function replaceNonce(
  trx: Knex.Transaction,
  link: Confirming,
  redirect: RedirectColumns,
  now: Date,
): Promise<boolean> {
  const replaced = await run(
    trx,
    sql`UPDATE account_links
           SET nonce_digest = ${redirect.nonce_digest}, request_key_id = ${redirect.request_key_id},
               request_ciphertext = ${redirect.request_ciphertext}, last_error = NULL, updated_at = ${now}
         WHERE ${isConfirming(link)} AND confirmation_step IN ('CLAIMED', 'POSTING', 'PROBING')`,
  );
  return replaced > 0;
}

/** Notes how far Ring was told. @returns false when the link is not being confirmed with this pair any more */
export async function reachStep(
  db: Knex,
  link: Confirming,
  step: NonNullable<LinkRow['confirmation_step']>,
  now: Date,
): Promise<boolean> {
  const reached = await run(
    db,
    sql`UPDATE account_links SET confirmation_step = ${step}, updated_at = ${now} WHERE ${isConfirming(link)}`,
  );
  return reached > 0;
}

/** Notes why Ring has not confirmed the link yet. @returns false when it is not being confirmed with this pair any more */
export async function noteFailure(trx: Knex.Transaction, link: Confirming, reason: string): Promise<boolean> {
  const noted = await run(trx, sql`UPDATE account_links SET last_error = ${reason} WHERE ${isConfirming(link)}`);
  return noted > 0;
}

/** Notes that the link waits for its user to bring a fresh nonce, unless one has come. */
export async function noteNonceTooOld(db: Knex, link: Confirming & Pick<LinkRow, 'nonce_digest'>): Promise<void> {
  await run(
    db,
    sql`UPDATE account_links SET last_error = ${NONCE_TOO_OLD}
         WHERE ${isConfirming(link)} AND nonce_digest = ${link.nonce_digest}`,
  );
}

/** @returns false when the link is not being confirmed with this pair any more */
export async function completeLink(trx: Knex.Transaction, link: Confirming, now: Date): Promise<boolean> {
  const completed = await run(
    trx,
    sql`UPDATE account_links
           SET status = 'COMPLETED', completed_at = ${now}, last_error = NULL, ${ERASE_REDIRECT}, updated_at = ${now}
         WHERE ${isConfirming(link)}`,
  );
  return completed > 0;
}

export async function refuseLink(trx: Knex.Transaction, id: LinkRow['id'], reason: string, now: Date): Promise<void> {
  await run(
    trx,
    sql`UPDATE account_links SET status = 'REFUSED', last_error = ${reason}, ${ERASE_REDIRECT}, updated_at = ${now}
         WHERE id = ${id}`,
  );
}

/** Ends a link whose user has removed the app. @param removedAt by Ring's clock */
export async function removeLink(trx: Knex.Transaction, id: LinkRow['id'], removedAt: Date, now: Date): Promise<void> {
  await run(
    trx,
    sql`UPDATE account_links
           SET status = 'REMOVED', removed_at = ${removedAt}, updated_at = ${now}, last_error = NULL, ${ERASE_REDIRECT}
         WHERE id = ${id}`,
  );
}

/** Leaves the callable link of a dead pair to its user, who has to make it again. */
export async function requireNewPair(
  trx: Knex.Transaction,
  tokenId: LinkRow['token_id'],
  reason: string,
  now: Date,
): Promise<void> {
  await run(
    trx,
    sql`UPDATE account_links
           SET status = 'REAUTH_REQUIRED', last_error = ${reason}, updated_at = ${now}, ${ERASE_REDIRECT}
         WHERE token_id = ${tokenId} AND ${isCallable()}`,
  );
}

/**
 * Makes a link complete again that waits for its user because its pair was taken for dead. A link that was never completed is
 * left as it is: Ring has still to confirm it.
 *
 * @returns the Ring account of the link; undefined when none was changed
 */
export async function healLink(
  trx: Knex.Transaction,
  tokenId: LinkRow['token_id'],
  now: Date,
): Promise<LinkRow['account_id'] | undefined> {
  const healed = await row<Pick<LinkRow, 'account_id'>>(
    trx,
    sql`UPDATE account_links SET status = 'COMPLETED', last_error = NULL, updated_at = ${now}
         WHERE token_id = ${tokenId} AND ${isHealable()} RETURNING account_id`,
  );
  return healed?.account_id;
}

/** Records Ring's own confirmation: a webhook tells that the app was added. */
export async function markConfirmedByRing(
  trx: Knex.Transaction,
  event: ReceivedEvent & { occurredAt: Date },
): Promise<void> {
  const link = await linkToldOf(trx, event);
  if (link === undefined) return;
  await run(
    trx,
    sql`UPDATE account_links SET ring_confirmed_at = greatest(ring_confirmed_at, ${event.occurredAt})
         WHERE id = ${link.id}`,
  );
}

/** Gives the user's live links an account identifier, which Ring is still to be told. @returns those that had another one */
export function changeIdentifierOfLinks(
  trx: Knex.Transaction,
  userId: string,
  identifier: string,
): Promise<Pick<LinkRow, 'id' | 'status'>[]> {
  // Locked in one order, because other transactions lock several links, too.
  return rows(
    trx,
    sql`UPDATE account_links SET account_identifier = ${identifier}, is_identifier_untold = true
         WHERE id = ANY (ARRAY(SELECT id FROM account_links
                                WHERE user_id = ${userId} AND ${isLive()} AND account_identifier <> ${identifier}
                                ORDER BY id FOR UPDATE))
        RETURNING id, status`,
  );
}

/** Notes that Ring was told the link's account identifier, unless that has changed again. */
export async function markIdentifierTold(db: Knex, id: LinkRow['id'], identifier: string): Promise<void> {
  await run(
    db,
    sql`UPDATE account_links SET is_identifier_untold = false
         WHERE id = ${id} AND account_identifier = ${identifier}`,
  );
}

/** How long Ring's answer about subscriptions is good without a webhook, in hours. Spread, so that accounts don't come at once. */
const LEAST_HOURS = 20;
const SPREAD_HOURS = 4;
/** How soon Ring is asked again about a subscription that it calls active, and whose date has passed. */
const OVERDUE_HOURS = 1;

/**
 * SQL: when Ring is next asked what the account of a `link` has subscribed to: once a day, and as soon as an active
 * subscription has come to its date.
 */
const nextQuestion = (now: Date): Sql => sql`
  least(${now}::timestamptz + (${LEAST_HOURS} + random() * ${SPREAD_HOURS}) * interval '1 hour',
        (SELECT min(CASE WHEN sub.expires_at + ${AFTER_EXPIRY_MS} * interval '1 ms' > ${now}
                         THEN sub.expires_at + ${AFTER_EXPIRY_MS} * interval '1 ms'
                         ELSE ${now}::timestamptz + ${OVERDUE_HOURS} * interval '1 hour' END)
           FROM subscriptions AS sub WHERE sub.account_id = link.account_id AND sub.status = 'active'))`;

/** Notes that Ring has told what an account has subscribed to, after that is stored. */
export async function noteSubscriptionsAnswer(trx: Knex.Transaction, accountId: string, now: Date): Promise<void> {
  await run(
    trx,
    sql`UPDATE account_links AS link
           SET subscriptions_answered_at = ${now}, subscriptions_ask_at = ${nextQuestion(now)}
         WHERE account_id = ${accountId} AND ${isUsable('link')}`,
  );
}

/**
 * Takes the Ring accounts whose subscriptions Ring is to be asked about by now, each once, and notes when it is asked again.
 * A link that is being changed at this moment is left to the next time.
 */
export function takeSubscriptionQuestions(
  trx: Knex.Transaction,
  now: Date,
  limit: number,
): Promise<Pick<LinkRow, 'account_id'>[]> {
  return rows(
    trx,
    sql`UPDATE account_links AS link SET subscriptions_ask_at = ${nextQuestion(now)}
         WHERE id = ANY (ARRAY(SELECT id FROM account_links
                                WHERE ${isUsable()} AND (subscriptions_ask_at IS NULL OR subscriptions_ask_at <= ${now})
                                ORDER BY subscriptions_ask_at NULLS FIRST LIMIT ${limit} FOR UPDATE SKIP LOCKED))
        RETURNING account_id`,
  );
}

export async function eraseLinksOfUser(trx: Knex.Transaction, userId: string): Promise<void> {
  await run(trx, sql`DELETE FROM account_links WHERE user_id = ${userId}`);
}
