import type { Knex } from 'knex';
import { z } from 'zod';
import type { Clock } from '../time/clock.js';
import { row } from '../database/database.js';
import type { Passwords } from './passwords.js';

/** A partner user: someone's account with us. */
export interface User {
  id: string;
  email: string;
  /** Counts the changes of e-mail and password. */
  credentialsVersion: number;
}

const COLUMNS = 'id, email, credentials_version AS "credentialsVersion"';

const BAD_EMAIL = 'Enter an email address like name@example.com.';

/** As a browser's own e-mail field understands an address, so that page and server never disagree. */
const normalizedEmail = z
  .string()
  .transform((value) => value.trim().toLowerCase())
  .pipe(z.email({ pattern: z.regexes.html5Email, error: BAD_EMAIL }).max(254, { error: BAD_EMAIL }));

/** What the sign-in form sends. Nothing is said about a bad one: it is simply no account's. */
export const Credentials = z.object({ email: normalizedEmail, password: z.string().min(1).max(200) });

/** What someone wants to sign in with from now on, with what to correct. */
export const NewEmail = normalizedEmail;
export const NewPassword = z
  .string()
  .min(10, { error: 'Choose a password of at least 10 characters.' })
  .max(200, { error: 'Choose a password of at most 200 characters.' });

/** What the create-account form sends. */
export const NewAccount = z.object({ email: NewEmail, password: NewPassword });

/** Creates an account, or returns undefined when there is one with this e-mail already. */
export async function createUser(
  { db, passwords, clock }: { db: Knex; passwords: Passwords; clock: Clock },
  { email, password }: { email: string; password: string },
): Promise<User | undefined> {
  return row<User>(
    db,
    `INSERT INTO users (email, password_hash, created_at) VALUES (?, ?, ?)
     ON CONFLICT (email) DO NOTHING RETURNING ${COLUMNS}`,
    [email, await passwords.hash(password), clock()],
  );
}

/** The user with these credentials. An unknown e-mail costs one verification too, so that the time taken tells nothing. */
export async function verifyCredentials(
  { db, passwords }: { db: Knex; passwords: Passwords },
  { email, password }: { email: string; password: string },
): Promise<User | undefined> {
  const user = await row<User & { password_hash: string }>(
    db,
    `SELECT ${COLUMNS}, password_hash FROM users WHERE email = ?`,
    [email],
  );
  const isCorrect = await passwords.verify(user?.password_hash, password);
  if (user === undefined || !isCorrect) return undefined;
  return { id: user.id, email: user.email, credentialsVersion: user.credentialsVersion };
}

/** Whether this is the password of a user who is signed in. */
export async function verifyPassword(
  { db, passwords }: { db: Knex; passwords: Passwords },
  userId: string,
  password: string,
): Promise<boolean> {
  const user = await row<{ password_hash: string }>(db, 'SELECT password_hash FROM users WHERE id = ?', [userId]);
  return passwords.verify(user?.password_hash, password);
}

export function findUser(db: Knex, id: string): Promise<User | undefined> {
  return row<User>(db, `SELECT ${COLUMNS} FROM users WHERE id = ?`, [id]);
}

/**
 * Until the end of the transaction the user stays, with this e-mail.
 *
 * - `to stay`: nobody else changes or deletes the user meanwhile; for whoever makes something that belongs to it.
 * - `to change`: nor does anybody else hold this lock, in either way. It comes before every other lock; see `lockAccount`.
 *
 * @returns undefined when the account was deleted
 */
export function lockUser(trx: Knex, id: string, purpose: 'to stay' | 'to change'): Promise<User | undefined> {
  // Neither is in the way of rows that refer to the user: those who add them hold locks that come later.
  const strength = purpose === 'to stay' ? 'FOR SHARE' : 'FOR NO KEY UPDATE';
  return row<User>(trx, `SELECT ${COLUMNS} FROM users WHERE id = ? ${strength}`, [id]);
}
