import type { Knex } from 'knex';
import { z } from 'zod';
import type { Core } from '../core.js';
import { row, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { enqueue } from '../jobs/enqueue.js';
import { retryRingCall } from '../jobs/ring-retry.js';
import { isUsable } from '../ring-accounts/link-conditions.js';
import { changeIdentifierOfLinks, markIdentifierTold } from '../ring-accounts/link-rows.js';
import { maskEmail } from '../ring/account-identifier.js';
import { NoLinkError } from '../tokens/errors.js';

type LinkRow = Tables['account_links'];

/** The job that tells Ring a link's new account identifier. */
export const TELL_IDENTIFIER = 'tell_identifier';

const Payload = z.object({ linkId: z.uuid(), attempt: z.number().int().min(1) });

const keyOf = (linkId: string): string => `${TELL_IDENTIFIER}:${linkId}`;

/** One job at a time for each link: of two, the one with the older identifier could reach Ring last. */
export const identifierKeyOf = (payload: unknown): string => keyOf(Payload.parse(payload).linkId);

/**
 * Gives the user's links the account identifier of a new e-mail address, in the transaction that changes the address and before
 * it changes the user's row. For a complete link, a job tells Ring. A link that is still being confirmed, or has to be made again, gets that job
 * as soon as it is whole. See {@link enqueueUntoldIdentifier}.
 */
export async function changeIdentifier(trx: Knex.Transaction, userId: string, email: string): Promise<void> {
  const changed = await changeIdentifierOfLinks(trx, userId, maskEmail(email));
  for (const { id, status } of changed) if (status === 'COMPLETED') await enqueueTelling(trx, id);
}

/** Adds the job when the identifier has changed while the link was not whole, in the transaction that makes it whole. */
export async function enqueueUntoldIdentifier(trx: Knex.Transaction, accountId: string): Promise<void> {
  const untold = await row<Pick<LinkRow, 'id'>>(
    trx,
    sql`SELECT id FROM account_links WHERE account_id = ${accountId} AND ${isUsable()} AND is_identifier_untold`,
  );
  if (untold !== undefined) await enqueueTelling(trx, untold.id);
}

function enqueueTelling(trx: Knex.Transaction, linkId: string): Promise<void> {
  return enqueue(trx, TELL_IDENTIFIER, { linkId, attempt: 1 }, { key: keyOf(linkId) });
}

/** Tells Ring, until it answers. A final refusal is not tried again: only what Ring shows its user depends on the identifier. */
export async function tellIdentifier(
  core: Pick<Core, 'db' | 'ring' | 'tokens' | 'log'>,
  payload: unknown,
): Promise<void> {
  const job = Payload.parse(payload);
  const { db, ring, tokens } = core;
  const link = await row<Pick<LinkRow, 'account_id' | 'account_identifier'>>(
    db,
    sql`SELECT account_id, account_identifier FROM account_links
         WHERE id = ${job.linkId} AND ${isUsable()} AND is_identifier_untold`,
  );
  if (link === undefined) return;
  const { account_id: accountId, account_identifier: accountIdentifier } = link;
  try {
    await tokens.forAccount(accountId, (accessToken) => ring.changeIdentifier(accessToken, { accountIdentifier }));
  } catch (error) {
    if (error instanceof NoLinkError) return;
    await retryRingCall(core, TELL_IDENTIFIER, job, keyOf(job.linkId), error);
    return;
  }
  // When the identifier has changed again meanwhile, another job is on its way.
  await markIdentifierTold(db, job.linkId, accountIdentifier);
}
