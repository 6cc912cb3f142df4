import type { Knex } from 'knex';
import { z } from 'zod';
import { rows } from '../database/database.js';
import { IS_APPLIED } from '../ring-accounts/link-conditions.js';
import { jobKey } from '../jobs/enqueue.js';
import { retryRingCall } from '../jobs/ring-retry.js';
import type { RingSubscription } from '../ring/subscriptions.js';
import { NoLinkError } from '../tokens/errors.js';
import type { InventoryDependencies } from './fetch-devices.js';
import { inLinkedAccount } from '../ring-accounts/linked-account.js';
import { FETCH_SUBSCRIPTIONS } from '../ring-accounts/refetch.js';

/** A subscription as its user may see it. */
export interface UserSubscription {
  linkId: string;
  subType: RingSubscription['subType'];
  status: RingSubscription['status'];
  expiresAt: Date | null;
  /** Of those that are shared with us. */
  deviceNames: (string | null)[];
}

/** The subscriptions of all links of a user that stand, those that run first, and of them the longest. */
export function subscriptionsOfUser(db: Knex, userId: string): Promise<UserSubscription[]> {
  return rows<UserSubscription>(
    db,
    `SELECT link.id AS "linkId", sub.sub_type AS "subType", sub.status, sub.expires_at AS "expiresAt",
            ARRAY(SELECT device.name FROM devices device
                   WHERE device.account_id = sub.account_id AND device.id = ANY (sub.device_ids)
                     AND device.removed_at IS NULL
                   ORDER BY device.name) AS "deviceNames"
       FROM account_links link JOIN subscriptions sub ON sub.account_id = link.account_id
      WHERE link.user_id = ? AND link.${IS_APPLIED}
      ORDER BY sub.status, sub.expires_at DESC NULLS FIRST, sub.id LIMIT 100`,
    [userId],
  );
}

const Payload = z.object({ accountId: z.string(), attempt: z.number().int().min(1) });

/** Replaces what we know of an account's subscriptions by Ring's answer, which is the whole truth. */
export async function fetchSubscriptions(dependencies: InventoryDependencies, payload: unknown): Promise<void> {
  const job = Payload.parse(payload);
  const { accountId } = job;
  const { ring, tokens } = dependencies;
  const askedAt = dependencies.clock();
  try {
    const subscriptions = await tokens.forAccount(accountId, (accessToken) => ring.getSubscriptions(accessToken));
    await inLinkedAccount(dependencies.db, accountId, (trx) => replace(trx, accountId, subscriptions, askedAt));
  } catch (error) {
    if (error instanceof NoLinkError) return;
    await retryRingCall(dependencies, FETCH_SUBSCRIPTIONS, job, jobKey(FETCH_SUBSCRIPTIONS, accountId), error);
  }
}

async function replace(
  trx: Knex,
  accountId: string,
  subscriptions: readonly RingSubscription[],
  askedAt: Date,
): Promise<void> {
  await trx.raw('DELETE FROM subscriptions WHERE account_id = ?', [accountId]);
  for (const { id, subType, status, planId, expiresAt, createdAt, deviceIds } of subscriptions) {
    await trx.raw(
      `INSERT INTO subscriptions (account_id, id, sub_type, status, plan_id, expires_at, created_at, device_ids, fetched_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?::text[], ?)
       ON CONFLICT DO NOTHING`,
      [accountId, id, subType, status, planId, expiresAt, createdAt, deviceIds, askedAt],
    );
  }
}
