import type { Knex } from 'knex';
import { changeIdentifier } from '../linking/tell-identifier.js';
import { closeLiveViewsOfUser } from '../live-views/live-views.js';
import type { Passwords } from '../users/passwords.js';
import { endSessions } from '../users/session.js';
import { changeCredential, lockUser, type NewCredential, type User } from '../users/users.js';

/** Postgres' code for a value that is in a unique index already. */
const UNIQUE_VIOLATION = '23505';

/** The circumstances of a change by a signed-in user. */
export interface Change {
  /** As they were read before their current password was verified. A change since then makes this one stale. */
  user: User;
  /** The session that goes on. All others of the user end, and their live views with them. */
  sessionId: string;
  now: Date;
}

/**
 * - `stale`: the credentials were changed, or the user was deleted, since the current password was verified.
 * - `taken`: another user has this e-mail.
 */
export type Changed = { kind: 'changed'; user: User } | { kind: 'stale' } | { kind: 'taken' };

/** Changes the e-mail. Jobs tell Ring the new masked e-mail of the user's links. */
export async function changeEmail(db: Knex, change: Change, email: string): Promise<Changed> {
  try {
    return await changeUser(db, change, { email }, (trx) => changeIdentifier(trx, change.user.id, email));
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
  return changeUser(db, change, { passwordHash: await passwords.hash(password) });
}

/** The change and the end of the other sessions are one transaction: an old password must not outlive itself in a session. */
async function changeUser(
  db: Knex,
  { user, sessionId, now }: Change,
  credential: NewCredential,
  prepare?: (trx: Knex.Transaction) => Promise<void>,
): Promise<Changed> {
  return db.transaction(async (trx) => {
    const current = await lockUser(trx, user.id, 'to change');
    if (current?.credentialsVersion !== user.credentialsVersion) return { kind: 'stale' };
    await prepare?.(trx);
    const changed = await changeCredential(trx, user.id, credential);
    if (changed === undefined) return { kind: 'stale' };
    await endSessions(trx, user.id, { except: sessionId });
    // All of them, because a live view does not know its session. The session that goes on can open another.
    await closeLiveViewsOfUser(trx, user.id, now);
    return { kind: 'changed', user: changed };
  });
}
