import type { Knex } from 'knex';
import { z } from 'zod';
import { row, run, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import type { Clock } from '../time/clock.js';
import type { Passwords } from './passwords.js';

type UserRow = Tables['users'];

/** A partner user. */
export interface User {
  id: UserRow['id'];
  email: UserRow['email'];
  /** Counts the changes of e-mail and password. */
  credentialsVersion: UserRow['credentials_version'];
}

const COLUMNS = sql`id, email, credentials_version AS "credentialsVersion"`;

const BAD_EMAIL = 'Enter an email address like name@example.com.';

/** As a browser's own e-mail field understands an address, so that page and server never disagree. */
const normalizedEmail = z
  .string()
  .transform((value) => value.trim().toLowerCase())
  .pipe(z.email({ pattern: z.regexes.html5Email, error: BAD_EMAIL }).max(254, { error: BAD_EMAIL }));

/** The sign-in form. No error texts: the answer to malformed credentials is the one to wrong credentials. */
export const Credentials = z.object({ email: normalizedEmail, password: z.string().min(1).max(200) });

/** A new e-mail or password, whose errors tell the user what to correct. */
export const NewEmail = normalizedEmail;
export const NewPassword = z
  .string()
  .min(10, { error: 'Choose a password of at least 10 characters.' })
  .max(200, { error: 'Choose a password of at most 200 characters.' });

/** The sign-up form. */
export const NewUser = z.object({ email: NewEmail, password: NewPassword });

/** Creates a user, or returns undefined when there is one with this e-mail already. */
export async function createUser(
  { db, passwords, clock }: { db: Knex; passwords: Passwords; clock: Clock },
  { email, password }: { email: string; password: string },
): Promise<User | undefined> {
  const passwordHash = await passwords.hash(password);
  return row<User>(
    db,
    sql`INSERT INTO users (email, password_hash, created_at) VALUES (${email}, ${passwordHash}, ${clock()})
        ON CONFLICT (email) DO NOTHING RETURNING ${COLUMNS}`,
  );
}

/** A change of the user's credentials: of the e-mail, or of the password. */
export type NewCredential = { email: string } | { passwordHash: string };

/**
 * Changes the e-mail or the password, and counts the change, which ends the sessions that began before it.
 *
 * @returns undefined when the user was deleted
 * @throws the unique violation of Postgres (23505) when another user has this e-mail
 */
export function changeCredential(
  trx: Knex.Transaction,
  userId: string,
  credential: NewCredential,
): Promise<User | undefined> {
  const change =
    'email' in credential ? sql`email = ${credential.email}` : sql`password_hash = ${credential.passwordHash}`;
  return row<User>(
    trx,
    sql`UPDATE users SET ${change}, credentials_version = credentials_version + 1 WHERE id = ${userId}
        RETURNING ${COLUMNS}`,
  );
}

/** Erases the user's row. Rows that refer to it have to be erased before. */
export async function eraseUser(trx: Knex.Transaction, userId: string): Promise<void> {
  await run(trx, sql`DELETE FROM users WHERE id = ${userId}`);
}

/** The user with these credentials. An unknown e-mail costs one verification too, so that the time taken tells nothing. */
export async function verifyCredentials(
  { db, passwords }: { db: Knex; passwords: Passwords },
  { email, password }: { email: string; password: string },
): Promise<User | undefined> {
  const user = await row<User & Pick<UserRow, 'password_hash'>>(
    db,
    sql`SELECT ${COLUMNS}, password_hash FROM users WHERE email = ${email}`,
  );
  const isCorrect = await passwords.verify(user?.password_hash, password);
  if (user === undefined || !isCorrect) return undefined;
  return { id: user.id, email: user.email, credentialsVersion: user.credentialsVersion };
}

/** Whether this is the password of the user. */
export async function verifyPassword(
  { db, passwords }: { db: Knex; passwords: Passwords },
  userId: string,
  password: string,
): Promise<boolean> {
  const user = await row<Pick<UserRow, 'password_hash'>>(db, sql`SELECT password_hash FROM users WHERE id = ${userId}`);
  return passwords.verify(user?.password_hash, password);
}

export function findUser(db: Knex, id: string): Promise<User | undefined> {
  return row<User>(db, sql`SELECT ${COLUMNS} FROM users WHERE id = ${id}`);
}

/**
 * Locks the user's row until the end of the transaction. This lock comes before every other; see `lockAccount`.
 *
 * - `to stay`: no other transaction changes or deletes the user; for one that adds what belongs to the user.
 * - `to change`: no other transaction holds this lock for either purpose.
 *
 * @returns undefined when the user was deleted
 */
export function lockUser(
  trx: Knex.Transaction,
  id: string,
  purpose: 'to stay' | 'to change',
): Promise<User | undefined> {
  // Neither strength blocks inserts that refer to the user: such a transaction may hold locks that come later.
  const strength = purpose === 'to stay' ? sql`FOR SHARE` : sql`FOR NO KEY UPDATE`;
  return row<User>(trx, sql`SELECT ${COLUMNS} FROM users WHERE id = ${id} ${strength}`);
}

/** Notes since when the users with these addresses have been exempt from what others need, and that no others are. */
export async function noteExemptUsers(db: Knex, emails: readonly string[], now: Date): Promise<void> {
  await run(
    db,
    sql`UPDATE users SET exempt_since = ${now} WHERE email = ANY (${emails}::text[]) AND exempt_since IS NULL`,
  );
  await run(
    db,
    sql`UPDATE users SET exempt_since = NULL WHERE exempt_since IS NOT NULL AND email <> ALL (${emails}::text[])`,
  );
}
