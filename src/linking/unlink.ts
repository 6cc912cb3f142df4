import type { Knex } from 'knex';
import { linkToldOf, TELLS_OF_INSTALLATION } from '../ring-accounts/installation.js';
import { archive, type Removal } from '../inventory/archive.js';
import { removeAllDevices } from '../inventory/removal.js';
import { eraseSubscriptions } from '../inventory/subscriptions.js';
import { ERASE } from '../tokens/token-pairs.js';

export interface IntegrationRemoval {
  accountId: string;
  requestId: string;
  /** When the user removed the app, by Ring's clock. */
  occurredAt: Date;
  now: Date;
}

/**
 * The user has removed the app in the Ring app: ends the link, its token pair, and everything that came through it. Ring
 * has revoked the tokens, so it is not called. An installation that this removal does not tell of is a later one and stays.
 *
 * Part of a transaction that holds the account's lock: it happens whole or not at all, and once.
 *
 * @see https://developer.amazon.com/docs/ring/app-integrations.html
 */
export async function endIntegration(trx: Knex, removal: IntegrationRemoval): Promise<void> {
  const { accountId, requestId, occurredAt, now } = removal;
  await trx.raw(
    `UPDATE ring_tokens AS token SET status = 'REVOKED', ${ERASE}
       FROM webhook_events AS event
      WHERE token.account_id = ? AND token.status = 'UNCLAIMED' AND event.request_id = ? AND ${TELLS_OF_INSTALLATION}`,
    [accountId, requestId],
  );
  await voidWaitingEvents(trx, removal);
  const link = await linkToldOf(trx, removal);
  if (link === undefined) return;

  await eraseAccountData(trx, { accountId, reason: 'app_integration_removed', requestId, occurredAt, now });
  await trx.raw(
    `UPDATE account_links SET status = 'REMOVED', removed_at = ?, updated_at = ?, last_error = NULL,
            confirmation_step = NULL, request_key_id = NULL, request_ciphertext = NULL
      WHERE id = ?`,
    [occurredAt, now, link.id],
  );
  await trx.raw(`UPDATE ring_tokens SET status = 'REVOKED', ${ERASE} WHERE id = ?`, [link.token_id]);
}

/**
 * Erases everything that has come through a link that is ending now, and archives that it was there. The caller holds the
 * account's lock and the link's row, which is still live.
 */
export async function eraseAccountData(trx: Knex, removal: Omit<Removal, 'kind' | 'deviceId'>): Promise<void> {
  const { accountId, now } = removal;
  await archive(trx, { ...removal, kind: 'LINK_REMOVED' });
  await removeAllDevices(trx, accountId, now);
  await eraseSubscriptions(trx, accountId);
  await trx.raw(
    `UPDATE webhook_events SET body = NULL WHERE account_id = ? AND status IN ('PROCESSED', 'UNKNOWN_TYPE') AND body IS NOT NULL`,
    [accountId],
  );
}

/** What still waits for this link, or has failed, is not going to be applied to the next one. */
async function voidWaitingEvents(trx: Knex, { accountId, occurredAt, now }: IntegrationRemoval): Promise<void> {
  await trx.raw(
    `UPDATE webhook_events SET status = 'PROCESSED', processed_at = ?, body = NULL
      WHERE account_id = ? AND status IN ('PENDING', 'FAILED') AND type <> 'app_integration_removed' AND occurred_at <= ?`,
    [now, accountId, occurredAt],
  );
}
