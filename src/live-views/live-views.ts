import { randomUUID } from 'node:crypto';
import type { Knex } from 'knex';
import type { Core } from '../core.js';
import { row, rows, run, type Sql, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { mayHaveVideo } from '../devices/device-kind.js';
import { lockDeviceOfUser, type UserDevice } from '../devices/user-devices.js';
import { type DeviceScope, inScope } from '../ring-accounts/device-scope.js';
import { enqueueClosing, type OpenSession } from './close-live-view.js';

type LiveViewRow = Tables['live_views'];
export type EndReason = NonNullable<LiveViewRow['end_reason']>;

/** A live view as its user's browser may see it. */
export type LiveView = Pick<LiveViewRow, 'status' | 'end_reason' | 'expires_at' | 'session_path'>;

/** The three parts of a live view's address. All of them come from outside. */
export interface LiveViewAddress {
  id: string;
  deviceId: string;
  userId: string;
}

/** Ring ends a session after 30 s on battery and 60 s on line power, and does not tell which it will be. */
const LIVE_VIEW_LIMIT_MS = 60_000;
const ENDED_RETENTION_MS = 24 * 60 * 60 * 1_000;

const isAt = ({ id, deviceId, userId }: LiveViewAddress): Sql =>
  sql`id = ${id} AND device_id = ${deviceId} AND user_id = ${userId}`;

/**
 * Notes that a live view is about to be opened, before Ring hears of it: from here on a removal of the device finds it.
 *
 * @returns undefined when the device is not the user's (any more)
 */
export async function beginLiveView(
  { db, coverage }: Pick<Core, 'db' | 'coverage'>,
  userId: string,
  deviceId: string,
  now: Date,
): Promise<
  { kind: 'offline' | 'no-video' | 'uncovered' } | { kind: 'opening'; id: string; device: UserDevice } | undefined
> {
  return db.transaction(async (trx) => {
    // The lock makes a removal of the device, its going offline, or the end of its subscription come wholly before this
    // row, or find it.
    const device = await lockDeviceOfUser(trx, userId, deviceId);
    if (device === undefined) return undefined;
    if (!mayHaveVideo(device)) return { kind: 'no-video' };
    if (!(await coverage.isCovered(trx, { accountId: device.accountId, deviceId }, now))) return { kind: 'uncovered' };
    if (device.online === false) return { kind: 'offline' };
    const id = randomUUID();
    await trx('live_views').insert({
      id,
      user_id: userId,
      link_id: device.linkId,
      account_id: device.accountId,
      device_id: device.id,
      status: 'OPENING',
      started_at: now,
      expires_at: limitOf(now),
    });
    return { kind: 'opening', id, device };
  });
}

/**
 * Notes that Ring has opened the session. When the live view was ended meanwhile, the session is closed at Ring instead,
 * unless the link is gone: then Ring has ended it, and takes no call.
 *
 * @returns why it was ended, or null: it is open
 */
export async function recordOpened(
  db: Knex,
  { id, accountId, sessionPath }: { id: string; accountId: string; sessionPath: string | null },
  now: Date,
): Promise<EndReason | null> {
  const expiresAt = limitOf(now);
  return db.transaction(async (trx) => {
    const opened = await run(
      trx,
      sql`UPDATE live_views
             SET status = 'OPEN', session_path = ${sessionPath}, started_at = ${now}, expires_at = ${expiresAt}
           WHERE id = ${id} AND status = 'OPENING'`,
    );
    if (opened > 0) return null;
    const ended = await row<Pick<LiveViewRow, 'end_reason'>>(
      trx,
      sql`SELECT end_reason FROM live_views WHERE id = ${id}`,
    );
    // A row that is missing was erased with its device.
    const reason = ended?.end_reason ?? 'DEVICE_REMOVED';
    if (sessionPath !== null && takesCallsAfter(reason))
      await enqueueClosing(trx, { liveViewId: id, accountId, sessionPath, expiresAt });
    return reason;
  });
}

/** Notes that there is no session: Ring refused it, or did not answer. */
export async function failLiveView(db: Knex, id: string, now: Date): Promise<void> {
  await run(
    db,
    sql`UPDATE live_views SET status = 'ENDED', end_reason = 'FAILED', ended_at = ${now}
         WHERE id = ${id} AND status = 'OPENING'`,
  );
}

/** A live view of this user. It is found also when its device or link is gone: that tells the user why it ended. */
export function findLiveView(db: Knex, address: LiveViewAddress): Promise<LiveView | undefined> {
  return row<LiveView>(
    db,
    sql`SELECT status, end_reason, expires_at, session_path FROM live_views WHERE ${isAt(address)}`,
  );
}

/**
 * Ends a live view for its user, here at once and at Ring by a job. One that is still opening is closed as soon as Ring
 * has opened it.
 *
 * @returns false when this user has no such live view; true also when it had ended before
 */
export async function closeLiveView(db: Knex, address: LiveViewAddress, now: Date): Promise<boolean> {
  return db.transaction(async (trx) => {
    const ended = await endWhere(trx, isAt(address), 'CLOSED', now);
    await closeSessions(trx, ended);
    return ended.length > 0 || (await findLiveView(trx, address)) !== undefined;
  });
}

/** Ends the live views of a user in the caller's transaction, and has them closed at Ring once that is committed. */
export async function closeLiveViewsOfUser(trx: Knex.Transaction, userId: string, now: Date): Promise<void> {
  await closeSessions(trx, await endWhere(trx, sql`user_id = ${userId}`, 'CLOSED', now));
}

/**
 * Ends the live views of a user, here at once.
 *
 * @returns the sessions that are still open at Ring, for the caller to close: a job could not, once the tokens are erased
 */
export async function endLiveViewsOfUser(db: Knex, userId: string, now: Date): Promise<OpenSession[]> {
  const ended = await endWhere(db, sql`user_id = ${userId}`, 'CLOSED', now);
  return ended.flatMap(sessionOf);
}

/**
 * Locks the live views of a Ring account, or of one device of it, ended ones included, in the order in which every ending
 * locks them. A removal ends some and erases others, and the loss of a subscription ends those of one device after the other:
 * without this, they and another ending could wait for each other.
 */
export async function lockLiveViews(trx: Knex.Transaction, scope: DeviceScope): Promise<void> {
  await run(
    trx,
    sql`SELECT 1 FROM live_views
         WHERE link_id IN (SELECT id FROM account_links WHERE account_id = ${scope.accountId}) AND ${inScope(scope)}
         ORDER BY id FOR UPDATE`,
  );
}

/**
 * Ends the live views of a Ring account, or of one device of it, in the caller's transaction. One that is opening is ended
 * too: the request that opens it learns so once Ring has answered, and closes the session.
 *
 * The caller must hold a lock on the rows of the devices (or of the link) by having changed them in this transaction
 * **before**: otherwise a live view that begins at this moment is missed.
 */
export async function endLiveViews(
  trx: Knex.Transaction,
  scope: DeviceScope,
  reason: EndReason,
  now: Date,
): Promise<void> {
  const ended = await endWhere(trx, inScope(scope), reason, now);
  if (takesCallsAfter(reason)) await closeSessions(trx, ended);
}

/**
 * Ends live views that Ring has ended by itself, and those that never got past opening because their process died. Any
 * number of instances may do it at once: each row is ended by one of them, and none waits.
 */
export async function endExpiredLiveViews({ db, clock }: Pick<Core, 'db' | 'clock'>): Promise<void> {
  const now = clock();
  await run(
    db,
    sql`UPDATE live_views SET status = 'ENDED', end_reason = 'TIME_LIMIT', ended_at = ${now}
         WHERE id = ANY (ARRAY(SELECT id FROM live_views WHERE status <> 'ENDED' AND expires_at <= ${now}
                                  FOR UPDATE SKIP LOCKED))`,
  );
}

/**
 * Erases the ended live views of a device or link that is being removed. Those that the removal itself has ended stay, so
 * that their user can be told why; they are purged with the others.
 */
export async function eraseFormerLiveViews(trx: Knex.Transaction, scope: DeviceScope): Promise<void> {
  await run(
    trx,
    sql`DELETE FROM live_views
         WHERE ${inScope(scope)} AND status = 'ENDED' AND end_reason NOT IN ('DEVICE_REMOVED', 'LINK_REMOVED')`,
  );
}

export async function eraseLiveViewsOfUser(trx: Knex.Transaction, userId: string): Promise<void> {
  await run(trx, sql`DELETE FROM live_views WHERE user_id = ${userId}`);
}

/** Purges live views that ended more than a day ago. */
export async function purgeEndedLiveViews({ db, clock }: Pick<Core, 'db' | 'clock'>): Promise<void> {
  const oldest = new Date(clock().getTime() - ENDED_RETENTION_MS);
  await run(db, sql`DELETE FROM live_views WHERE status = 'ENDED' AND ended_at < ${oldest}`);
}

type EndedLiveView = Pick<LiveViewRow, 'id' | 'account_id' | 'session_path' | 'expires_at'>;

/** Locks the rows in one order, whatever the condition: two endings of the same live views wait, and not for each other. */
function endWhere(on: Knex, condition: Sql, reason: EndReason, now: Date): Promise<EndedLiveView[]> {
  return rows<EndedLiveView>(
    on,
    sql`UPDATE live_views SET status = 'ENDED', end_reason = ${reason}, ended_at = ${now}
         WHERE id = ANY (ARRAY(SELECT id FROM live_views WHERE ${condition} AND status <> 'ENDED' ORDER BY id FOR UPDATE))
        RETURNING id, account_id, session_path, expires_at`,
  );
}

async function closeSessions(trx: Knex.Transaction, ended: EndedLiveView[]): Promise<void> {
  for (const session of ended.flatMap(sessionOf)) await enqueueClosing(trx, session);
}

/** None for a live view that is still opening: the request that opens it learns that it has ended. */
function sessionOf({ id, account_id, session_path, expires_at }: EndedLiveView): OpenSession[] {
  if (session_path === null) return [];
  return [{ liveViewId: id, accountId: account_id, sessionPath: session_path, expiresAt: expires_at }];
}

/** Ring ends our tokens together with the link, and the session with them. */
const takesCallsAfter = (reason: EndReason): boolean => reason !== 'LINK_REMOVED';

const limitOf = (start: Date): Date => new Date(start.getTime() + LIVE_VIEW_LIMIT_MS);
