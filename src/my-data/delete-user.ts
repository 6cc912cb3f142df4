import type { Knex } from 'knex';
import type { Core } from '../core.js';
import { rows, run, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { eraseInboxOfUser } from '../inbox/event-rows.js';
import { anonymizeArchive, archiveDeletion } from '../inventory/archive.js';
import { removeAllDevices } from '../inventory/removal.js';
import { eraseSubscriptions } from '../inventory/subscriptions.js';
import { endLiveViewsOfUser, eraseLiveViewsOfUser } from '../live-views/live-views.js';
import { eraseSchedulesOfUser } from '../pictures/schedule-rows.js';
import { lockAccount } from '../ring-accounts/account-lock.js';
import { isLive } from '../ring-accounts/link-conditions.js';
import { eraseLinksOfUser } from '../ring-accounts/link-rows.js';
import { within } from '../time/within.js';
import { erasePairsWithoutLink } from '../tokens/pair-rows.js';
import { endSessions } from '../users/session.js';
import { eraseUser, lockUser, type User } from '../users/users.js';

type Link = Tables['account_links'];

/** Short, because the user is waiting for the page. */
const CLOSING_LIMIT_MS = 3_000;

/**
 * Ends a user's live views, and then, in one transaction, erases the user and everything that we hold about them. Ring has
 * no call to be told, so the user removes the app there. Webhooks that Ring sends until then find no link, wait for one, and
 * are purged.
 *
 * @param user as of when the password was verified
 * @returns `stale` when the credentials were changed since: then nothing is erased. `deleted` also when the user was
 *   deleted meanwhile
 */
export async function deleteUser(
  core: Pick<Core, 'db' | 'ring' | 'tokens' | 'clock' | 'log'>,
  user: User,
): Promise<'deleted' | 'stale'> {
  await closeLiveViews(core, user.id);
  return core.db.transaction((trx) => erase(trx, user, core.clock()));
}

/**
 * Closes the user's live views at Ring while there are tokens to do it with. A live view that can't be closed in time (Ring
 * is away, or has not answered yet that it is open) ends by itself: no session lasts longer than a minute.
 */
async function closeLiveViews(
  { db, ring, tokens, clock, log }: Pick<Core, 'db' | 'ring' | 'tokens' | 'clock' | 'log'>,
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

/** Locks are taken in the order that `lockAccount` gives, and rows erased before the rows that they refer to. */
async function erase(trx: Knex.Transaction, user: User, now: Date): Promise<'deleted' | 'stale'> {
  const current = await lockUser(trx, user.id, 'to change');
  if (current === undefined) return 'deleted';
  if (current.credentialsVersion !== user.credentialsVersion) return 'stale';

  const links = await rows<Pick<Link, 'account_id'>>(
    trx,
    sql`SELECT DISTINCT account_id COLLATE "C" AS account_id FROM account_links WHERE user_id = ${user.id} ORDER BY 1`,
  );
  const accountIds = links.map(({ account_id }) => account_id);
  for (const accountId of accountIds) await lockAccount(trx, accountId);
  await run(trx, sql`SELECT 1 FROM account_links WHERE user_id = ${user.id} ORDER BY id FOR UPDATE`);

  const own = await withoutThoseOfOthers(trx, user.id, accountIds);
  await anonymizeArchive(trx, user.id, now);
  await archiveDeletion(trx, user.id, own, now);
  for (const accountId of own) {
    await removeAllDevices(trx, accountId, now);
    await eraseSubscriptions(trx, accountId);
  }
  await eraseInboxOfUser(trx, { userId: user.id, accountIds, own, now });
  await eraseLiveViewsOfUser(trx, user.id);
  await eraseSchedulesOfUser(trx, user.id);
  await eraseLinksOfUser(trx, user.id);
  await erasePairsWithoutLink(trx, accountIds);
  await eraseUser(trx, user.id);
  await endSessions(trx, user.id);
  return 'deleted';
}

/** Leaves out the Ring accounts that another user has linked since: all that came through that link is theirs. */
async function withoutThoseOfOthers(trx: Knex.Transaction, userId: string, accountIds: string[]): Promise<string[]> {
  const others = await rows<Pick<Link, 'account_id'>>(
    trx,
    sql`SELECT account_id FROM account_links
         WHERE account_id = ANY (${accountIds}::text[]) AND user_id <> ${userId} AND ${isLive()}`,
  );
  const ofOthers = new Set(others.map(({ account_id }) => account_id));
  return accountIds.filter((accountId) => !ofOthers.has(accountId));
}
