import type { Knex } from 'knex';
import { eraseBodiesOfAccount, voidEventsUntil } from '../inbox/event-rows.js';
import { archiveRemoval, type Removal } from '../inventory/archive.js';
import { removeAllDevices } from '../inventory/removal.js';
import { eraseSubscriptions } from '../inventory/subscriptions.js';
import { linkToldOf } from '../ring-accounts/installation.js';
import { removeLink } from '../ring-accounts/link-rows.js';
import { revokePair, revokeUnclaimedPair } from '../tokens/pair-rows.js';

/** A removal of the app, as Ring has told us by a webhook. */
export interface AppRemoval {
  accountId: string;
  requestId: string;
  /** When the user removed the app, by Ring's clock. */
  occurredAt: Date;
  now: Date;
}

/**
 * Ends the link of a user who has removed the app in the Ring app, its token pair, and everything that came through it. Ring
 * is not called, because it has revoked the tokens. An installation that the removal does not tell of is a later one, and
 * stays.
 *
 * Part of a transaction that holds the account's lock: it happens whole or not at all, and once.
 *
 * @see https://developer.amazon.com/docs/ring/app-integrations.html
 */
export async function endLink(trx: Knex.Transaction, removal: AppRemoval): Promise<void> {
  const { accountId, requestId, occurredAt, now } = removal;
  await revokeUnclaimedPair(trx, removal);
  await voidEventsUntil(trx, removal);
  const link = await linkToldOf(trx, removal);
  if (link === undefined) return;

  await eraseAccountData(trx, { accountId, reason: 'app_integration_removed', requestId, occurredAt, now });
  await removeLink(trx, link.id, occurredAt, now);
  await revokePair(trx, link.token_id);
}

/**
 * Erases everything that has come through a link that is ending, and archives that it was there. The caller holds the
 * account's lock and the link's row, which is still live.
 */
export async function eraseAccountData(
  trx: Knex.Transaction,
  removal: Omit<Removal, 'kind' | 'deviceId'>,
): Promise<void> {
  const { accountId, now } = removal;
  await archiveRemoval(trx, { ...removal, kind: 'LINK_REMOVED' });
  await removeAllDevices(trx, accountId, now);
  await eraseSubscriptions(trx, accountId);
  await eraseBodiesOfAccount(trx, accountId);
}
