import type { Knex } from 'knex';
import type { Passwords } from '../users/passwords.js';
import { endSessions } from '../users/session.js';
import { lockUser, type User } from '../users/users.js';
import { row } from '../database/database.js';
import { closeLiveViewsOfUser } from '../live-views/live-views.js';
import { changeIdentifier } from '../linking/rename-at-ring.js';

/** Postgres' code for a row that there may be only once. */
const UNIQUE_VIOLATION = '23505';

/** What someone who is signed in wants to change. */
export interface Change {
  /** As of when the current password was checked. */
  user: User;
  /** The session that goes on; all others of the user end, and with them what they show live. */
  sessionId: string;
  now: Date;
}

/**
 * - `stale`: the credentials were changed, or the account was deleted, since the current password was checked.
 * - `taken`: somebody else's account has this e-mail.
 */
export type Changed = { kind: 'changed'; user: User } | { kind: 'stale' } | { kind: 'taken' };

/** Changes the e-mail, and has Ring told under which name its accounts are linked now. */
export async function changeEmail(db: Knex, change: Change, email: string): Promise<Changed> {
  try {
    return await changeUser(db, change, async (trx) => {
      await changeIdentifier(trx, change.user.id, email);
      return { column: 'email', value: email };
    });
  } catch (error) {
    if ((error as { code?: unknown }).code === UNIQUE_VIOLATION) return { kind: 'taken' };
    throw error;
  }
}

export async function changePassword(
  { db, passwords }: { db: Knex; passwords: Passwords },
  change: Change,
  password: string,
): Promise<Changed> {
  const value = await passwords.hash(password);
  return changeUser(db, change, () => Promise.resolve({ column: 'password_hash', value }));
}

/** The change and the end of the other sessions are one: with a new password nobody stays who knows the old one. */
async function changeUser(
  db: Knex,
  { user, sessionId, now }: Change,
  prepare: (trx: Knex) => Promise<{ column: 'email' | 'password_hash'; value: string }>,
): Promise<Changed> {
  return db.transaction(async (trx) => {
    const current = await lockUser(trx, user.id, 'to change');
    if (current?.credentialsVersion !== user.credentialsVersion) return { kind: 'stale' };
    const { column, value } = await prepare(trx);
    const changed = await row<User>(
      trx,
      `UPDATE users SET ${column} = ?, credentials_version = credentials_version + 1 WHERE id = ?
       RETURNING id, email, credentials_version AS "credentialsVersion"`,
      [value, user.id],
    );
    if (changed === undefined) return { kind: 'stale' };
    await endSessions(trx, user.id, { except: sessionId });
    // Which session has opened one, nobody knows; the one that goes on can open another.
    await closeLiveViewsOfUser(trx, user.id, now);
    return { kind: 'changed', user: changed };
  });
}
