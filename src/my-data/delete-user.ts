import type { Knex } from 'knex';
import { endSessions } from '../users/session.js';
import { lockUser, type User } from '../users/users.js';
import { lockAccount } from '../ring-accounts/account-lock.js';
import { rows } from '../database/database.js';
import { IS_LIVE } from '../ring-accounts/link-conditions.js';
import { endLiveViewsOfUser, eraseLiveViewsOfUser } from '../live-views/live-views.js';
import { eraseSchedulesOfUser } from '../pictures/schedule-rows.js';
import { removeAllDevices } from '../inventory/removal.js';
import { eraseSubscriptions } from '../inventory/subscriptions.js';
import { forgetInbox } from '../webhooks/purge.js';
import { within } from '../time/within.js';
import type { Core } from '../core.js';

export type DeleteAccountDependencies = Pick<Core, 'db' | 'ring' | 'tokens' | 'clock' | 'log'>;

/** The user is waiting. */
const CLOSING_LIMIT_MS = 3_000;

/**
 * Ends a user's live views, and then, in one transaction, erases the account and everything that we hold of its user.
 * Ring is not told, and could not be: there is no call for it, so the user removes the app there. What Ring sends until
 * then finds no link, waits for one, and is purged.
 *
 * @param user as of when the password was checked
 * @returns `stale` when the credentials were changed since; then nothing is erased. An account that is gone is deleted
 */
export async function deleteAccount(dependencies: DeleteAccountDependencies, user: User): Promise<'deleted' | 'stale'> {
  await closeLiveViews(dependencies, user.id);
  const { db, clock } = dependencies;
  return db.transaction((trx) => erase(trx, user, clock()));
}

/**
 * While there are tokens to do it with. What can't be closed in time (Ring is away, or has not answered yet that it is
 * open) Ring ends by itself: no session lasts longer than a minute.
 */
async function closeLiveViews(
  { db, ring, tokens, clock, log }: DeleteAccountDependencies,
  userId: string,
): Promise<void> {
  const sessions = await endLiveViewsOfUser(db, userId, clock());
  const closing = sessions.map(({ liveViewId, accountId, sessionPath }) =>
    tokens
      .forAccount(accountId, (accessToken) => ring.closeLiveView(accessToken, sessionPath))
      .catch((error: unknown) => {
        log.warn({ err: error, liveViewId }, 'a live view is not closed at Ring; it ends by itself');
      }),
  );
  await within(CLOSING_LIMIT_MS, Promise.all(closing));
}

/** Whole, or not at all. The order of the locks is that of `lockAccount`; the order of the rest is that of the references. */
async function erase(trx: Knex, user: User, now: Date): Promise<'deleted' | 'stale'> {
  const current = await lockUser(trx, user.id, 'to change');
  if (current === undefined) return 'deleted';
  if (current.credentialsVersion !== user.credentialsVersion) return 'stale';

  const accounts = await rows<{ account_id: string }>(
    trx,
    'SELECT DISTINCT account_id COLLATE "C" AS account_id FROM account_links WHERE user_id = ? ORDER BY 1',
    [user.id],
  );
  const accountIds = accounts.map(({ account_id }) => account_id);
  for (const accountId of accountIds) await lockAccount(trx, accountId);
  await trx.raw('SELECT 1 FROM account_links WHERE user_id = ? ORDER BY id FOR UPDATE', [user.id]);

  const own = await withoutThoseOfOthers(trx, user.id, accountIds);
  await archive(trx, user.id, own, now);
  for (const accountId of own) {
    await removeAllDevices(trx, accountId, now);
    await eraseSubscriptions(trx, accountId);
  }
  await forgetInbox(trx, { userId: user.id, accountIds, own, now });
  await eraseLiveViewsOfUser(trx, user.id);
  await eraseSchedulesOfUser(trx, user.id);
  await trx.raw('DELETE FROM account_links WHERE user_id = ?', [user.id]);
  // A pair that nobody has claimed yet is of an installation that came after, and expires by itself.
  await trx.raw(
    `DELETE FROM ring_tokens AS token
      WHERE account_id = ANY (?::text[]) AND status IN ('CLAIMED', 'EXPIRED', 'REVOKED')
        AND NOT EXISTS (SELECT 1 FROM account_links WHERE token_id = token.id)`,
    [accountIds],
  );
  await trx.raw('DELETE FROM users WHERE id = ?', [user.id]);
  await endSessions(trx, user.id);
  return 'deleted';
}

/** A Ring account that this user once had may be somebody else's by now, with all that has come through that link. */
async function withoutThoseOfOthers(trx: Knex, userId: string, accountIds: string[]): Promise<string[]> {
  const others = await rows<{ account_id: string }>(
    trx,
    `SELECT account_id FROM account_links WHERE account_id = ANY (?::text[]) AND user_id <> ? AND ${IS_LIVE}`,
    [accountIds, userId],
  );
  const ofOthers = new Set(others.map(({ account_id }) => account_id));
  return accountIds.filter((accountId) => !ofOthers.has(accountId));
}

/** SQL: how many rows there are of what will be erased. Binds the accounts, and the user three times. */
const COUNTS = `
  WITH own AS (SELECT unnest(?::text[]) AS account_id)
  SELECT jsonb_build_object(
           'account_links', (SELECT count(*) FROM account_links WHERE user_id = ?),
           'devices', (SELECT count(*) FROM devices JOIN own USING (account_id)),
           'device_events', (SELECT count(*) FROM device_events JOIN own USING (account_id)),
           'snapshots', (SELECT count(*) FROM snapshots JOIN own USING (account_id)),
           'subscriptions', (SELECT count(*) FROM subscriptions JOIN own USING (account_id)),
           'live_views', (SELECT count(*) FROM live_views WHERE user_id = ?),
           'scheduled_operations', (SELECT count(*) FROM scheduled_operations WHERE user_id = ?))`;

/**
 * Writes down that an account was deleted, when, and how much there was. Of this row and of those that earlier removals
 * have left nobody can tell any more whose they are: what remains is kinds, times, numbers, and two random UUIDs of ours
 * whose rows are gone. Ring's account ID is not kept, not even hashed: whoever knows it could find it again.
 */
async function archive(trx: Knex, userId: string, accountIds: string[], now: Date): Promise<void> {
  await trx.raw(
    `UPDATE audit_archive
        SET erased_at = ?, account_id = NULL, account_identifier = NULL, device_id = NULL, request_id = NULL,
            devices = '[]'
      WHERE user_id = ? AND erased_at IS NULL`,
    [now, userId],
  );
  await trx.raw(
    `INSERT INTO audit_archive (user_id, kind, occurred_at, archived_at, erased_at, reason, devices, counts)
     VALUES (?, 'ACCOUNT_DELETED', ?, ?, ?, 'deleted by its user', '[]', (${COUNTS}))`,
    [userId, now, now, now, accountIds, userId, userId, userId],
  );
}
