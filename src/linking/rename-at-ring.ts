import type { Knex } from 'knex';
import { z } from 'zod';
import { row, rows } from '../database/database.js';
import { IS_LIVE, IS_USABLE } from '../ring-accounts/link-conditions.js';
import { enqueue } from '../jobs/enqueue.js';
import { retryRingCall } from '../jobs/ring-retry.js';
import { maskEmail } from '../ring/account-identifier.js';
import { NoLinkError } from '../tokens/errors.js';
import type { Core } from '../core.js';

/** The job that tells Ring under which name its account is linked now. */
export const TELL_IDENTIFIER = 'tell_identifier';

export type IdentifierDependencies = Pick<Core, 'db' | 'ring' | 'tokens' | 'log'>;

const Payload = z.object({ linkId: z.uuid(), attempt: z.number().int().min(1) });

const keyOf = (linkId: string): string => `${TELL_IDENTIFIER}:${linkId}`;

/** Of two jobs of one link, the one with the older name could be the last that Ring hears. */
export const identifierKeyOf = (payload: unknown): string => keyOf(Payload.parse(payload).linkId);

/**
 * Part of the transaction that changes a user's e-mail, before the user's row is: every link goes on under the new name.
 * Where Ring can be called, a job tells it; a link that is still being confirmed, or has to be made again, has that job
 * added as soon as it is whole. See {@link enqueueUntoldIdentifier}.
 */
export async function changeIdentifier(trx: Knex, userId: string, email: string): Promise<void> {
  const identifier = maskEmail(email);
  const changed = await rows<{ id: string; status: string }>(
    trx,
    `UPDATE account_links SET account_identifier = ?, is_identifier_untold = true
      WHERE user_id = ? AND ${IS_LIVE} AND account_identifier <> ? RETURNING id, status`,
    [identifier, userId, identifier],
  );
  for (const { id, status } of changed) if (status === 'COMPLETED') await enqueueTelling(trx, id);
}

/** Part of the transaction that makes an account's link whole: its name may have changed while it was not. */
export async function enqueueUntoldIdentifier(trx: Knex, accountId: string): Promise<void> {
  const untold = await row<{ id: string }>(
    trx,
    `SELECT id FROM account_links WHERE account_id = ? AND ${IS_USABLE} AND is_identifier_untold`,
    [accountId],
  );
  if (untold !== undefined) await enqueueTelling(trx, untold.id);
}

function enqueueTelling(trx: Knex, linkId: string): Promise<void> {
  return enqueue(trx, TELL_IDENTIFIER, { linkId, attempt: 1 }, { key: keyOf(linkId) });
}

/** Tells Ring, until it answers. A final no is left at that: nothing depends on the name but what Ring shows its user. */
export async function tellIdentifier(dependencies: IdentifierDependencies, payload: unknown): Promise<void> {
  const job = Payload.parse(payload);
  const { db, ring, tokens } = dependencies;
  const link = await row<{ account_id: string; account_identifier: string }>(
    db,
    `SELECT account_id, account_identifier FROM account_links WHERE id = ? AND ${IS_USABLE} AND is_identifier_untold`,
    [job.linkId],
  );
  if (link === undefined) return;
  const { account_id: accountId, account_identifier: accountIdentifier } = link;
  try {
    await tokens.forAccount(accountId, (accessToken) => ring.renameLink(accessToken, { accountIdentifier }));
  } catch (error) {
    if (error instanceof NoLinkError) return;
    await retryRingCall(dependencies, TELL_IDENTIFIER, job, keyOf(job.linkId), error);
    return;
  }
  // Unless it has changed again: then another job is on its way.
  await db.raw('UPDATE account_links SET is_identifier_untold = false WHERE id = ? AND account_identifier = ?', [
    job.linkId,
    accountIdentifier,
  ]);
}
