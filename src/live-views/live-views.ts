import { randomUUID } from 'node:crypto';
import type { Knex } from 'knex';
import { row, rows } from '../database/database.js';
import { enqueueClosing, type OpenSession } from './close-live-view.js';
import { bindScope, type DeviceScope, IN_SCOPE } from '../ring-accounts/device-scope.js';
import { lockDeviceOfUser, type UserDevice } from '../devices/user-devices.js';
import type { Core } from '../core.js';

export type LiveViewStatus = 'OPENING' | 'OPEN' | 'ENDED';
export type EndReason = 'CLOSED' | 'TIME_LIMIT' | 'DEVICE_OFFLINE' | 'DEVICE_REMOVED' | 'LINK_REMOVED' | 'FAILED';

export interface LiveView {
  status: LiveViewStatus;
  endReason: EndReason | null;
  expiresAt: Date;
}

/** Whose live view it is, and of what: all three come from outside. */
export interface LiveViewAddress {
  id: string;
  deviceId: string;
  userId: string;
}

/** Ring ends a session after 30 s on battery and 60 s on line power, and does not tell which it will be. */
export const LIVE_VIEW_LIMIT_MS = 60_000;
const ENDED_RETENTION_MS = 24 * 60 * 60 * 1_000;

const IS_AT_ADDRESS = 'id = ? AND device_id = ? AND user_id = ?';

/**
 * Notes that a live view is about to be opened, before Ring hears of it: from here on whoever removes the device finds it.
 *
 * @returns undefined when the device is not the user's (any more)
 */
export async function beginLiveView(
  db: Knex,
  userId: string,
  deviceId: string,
  now: Date,
): Promise<{ kind: 'offline' } | { kind: 'opening'; id: string; device: UserDevice } | undefined> {
  return db.transaction(async (trx) => {
    // Locked, so that a removal or an end of the connection comes wholly before this row or finds it.
    const device = await lockDeviceOfUser(trx, userId, deviceId);
    if (device === undefined) return undefined;
    if (device.online === false) return { kind: 'offline' };
    const id = randomUUID();
    await trx.raw(
      `INSERT INTO live_views (id, user_id, link_id, account_id, device_id, status, started_at, expires_at)
       VALUES (?, ?, ?, ?, ?, 'OPENING', ?, ?)`,
      [id, userId, device.linkId, device.accountId, device.id, now, limitOf(now)],
    );
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
  { id, accountId, sessionPath }: { id: string; accountId: string; sessionPath: string },
  now: Date,
): Promise<EndReason | null> {
  const expiresAt = limitOf(now);
  return db.transaction(async (trx) => {
    const opened = await row(
      trx,
      `UPDATE live_views SET status = 'OPEN', session_path = ?, started_at = ?, expires_at = ?
        WHERE id = ? AND status = 'OPENING' RETURNING 1`,
      [sessionPath, now, expiresAt, id],
    );
    if (opened !== undefined) return null;
    const ended = await row<{ end_reason: EndReason }>(trx, 'SELECT end_reason FROM live_views WHERE id = ?', [id]);
    // Without a row it was erased with its device.
    const reason = ended?.end_reason ?? 'DEVICE_REMOVED';
    if (takesCallsAfter(reason)) await enqueueClosing(trx, { liveViewId: id, accountId, sessionPath, expiresAt });
    return reason;
  });
}

/** Notes that there is no session: Ring refused it, or did not answer. */
export async function failLiveView(db: Knex, id: string, now: Date): Promise<void> {
  await db.raw(
    `UPDATE live_views SET status = 'ENDED', end_reason = 'FAILED', ended_at = ? WHERE id = ? AND status = 'OPENING'`,
    [now, id],
  );
}

/** A live view of this user. Also one whose device or link is gone meanwhile: that is how the user learns why it ended. */
export function findLiveView(db: Knex, { id, deviceId, userId }: LiveViewAddress): Promise<LiveView | undefined> {
  return row<LiveView>(
    db,
    `SELECT status, end_reason AS "endReason", expires_at AS "expiresAt" FROM live_views WHERE ${IS_AT_ADDRESS}`,
    [id, deviceId, userId],
  );
}

/**
 * Ends a live view for its user, here at once and at Ring by a job. One that is still opening is closed as soon as Ring
 * has opened it.
 *
 * @returns false when this user has no such live view; true also when it had ended before
 */
export async function closeLiveView(db: Knex, { id, deviceId, userId }: LiveViewAddress, now: Date): Promise<boolean> {
  return db.transaction(async (trx) => {
    const ended = await endWhere(trx, IS_AT_ADDRESS, [id, deviceId, userId], 'CLOSED', now);
    await closeSessions(trx, ended);
    return ended.length > 0 || (await findLiveView(trx, { id, deviceId, userId })) !== undefined;
  });
}

/** Ends the live views of a user in the caller's transaction, and has them closed at Ring once that is committed. */
export async function closeLiveViewsOfUser(trx: Knex, userId: string, now: Date): Promise<void> {
  await closeSessions(trx, await endWhere(trx, 'user_id = ?', [userId], 'CLOSED', now));
}

/**
 * Ends the live views of a user, here at once.
 *
 * @returns the sessions that are still open at Ring, for the caller to close: a job could not, once the tokens are erased
 */
export async function endLiveViewsOfUser(db: Knex, userId: string, now: Date): Promise<OpenSession[]> {
  const ended = await endWhere(db, 'user_id = ?', [userId], 'CLOSED', now);
  return ended.flatMap(sessionOf);
}

/**
 * Ends the live views of an account, or of one device of it, in the caller's transaction. Those that are opening are ended
 * too: whoever opens them learns it once Ring has answered, and closes the session.
 *
 * The caller must hold a lock on the rows of the devices (or of the link) by having changed them in this transaction
 * **before**: otherwise a live view that begins at this moment is missed.
 */
export async function endLiveViews(trx: Knex, scope: DeviceScope, reason: EndReason, now: Date): Promise<void> {
  const ended = await endWhere(trx, IN_SCOPE, bindScope(scope), reason, now);
  if (takesCallsAfter(reason)) await closeSessions(trx, ended);
}

/**
 * Ends what Ring has ended by itself, and what never got past opening because its process died. Any number of instances
 * may do it at once: each row is ended by one of them, and nobody waits.
 */
export async function endExpiredLiveViews({ db, clock }: Pick<Core, 'db' | 'clock'>): Promise<void> {
  const now = clock();
  await db.raw(
    `UPDATE live_views SET status = 'ENDED', end_reason = 'TIME_LIMIT', ended_at = ?
      WHERE id = ANY (ARRAY(SELECT id FROM live_views WHERE status <> 'ENDED' AND expires_at <= ?
                               FOR UPDATE SKIP LOCKED))`,
    [now, now],
  );
}

/**
 * Forgets what a removed device or link has shown, but for what the removal itself ended: that, its user is told until it is
 * forgotten with the others.
 */
export async function forgetFormerLiveViews(trx: Knex, scope: DeviceScope): Promise<void> {
  await trx.raw(
    `DELETE FROM live_views
      WHERE ${IN_SCOPE} AND status = 'ENDED' AND end_reason NOT IN ('DEVICE_REMOVED', 'LINK_REMOVED')`,
    bindScope(scope),
  );
}

/** Forgets what ended more than a day ago. */
export async function forgetEndedLiveViews({ db, clock }: Pick<Core, 'db' | 'clock'>): Promise<void> {
  await db.raw(`DELETE FROM live_views WHERE status = 'ENDED' AND ended_at < ?`, [
    new Date(clock().getTime() - ENDED_RETENTION_MS),
  ]);
}

interface EndedLiveView {
  id: string;
  account_id: string;
  session_path: string | null;
  expires_at: Date;
}

function endWhere(
  on: Knex,
  condition: string,
  bindings: (string | null)[],
  reason: EndReason,
  now: Date,
): Promise<EndedLiveView[]> {
  return rows<EndedLiveView>(
    on,
    `UPDATE live_views SET status = 'ENDED', end_reason = ?, ended_at = ?
      WHERE ${condition} AND status <> 'ENDED' RETURNING id, account_id, session_path, expires_at`,
    [reason, now, ...bindings],
  );
}

async function closeSessions(trx: Knex, ended: EndedLiveView[]): Promise<void> {
  for (const session of ended.flatMap(sessionOf)) await enqueueClosing(trx, session);
}

/** None while it is opening: whoever opens it learns that it has ended. */
function sessionOf({ id, account_id, session_path, expires_at }: EndedLiveView): OpenSession[] {
  if (session_path === null) return [];
  return [{ liveViewId: id, accountId: account_id, sessionPath: session_path, expiresAt: expires_at }];
}

/** With the link Ring ends our tokens, and the session with them. */
const takesCallsAfter = (reason: EndReason): boolean => reason !== 'LINK_REMOVED';

const limitOf = (start: Date): Date => new Date(start.getTime() + LIVE_VIEW_LIMIT_MS);
