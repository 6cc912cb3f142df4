import type { Knex } from 'knex';
import { row, rows, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { isLive } from './link-conditions.js';

type LinkRow = Tables['account_links'];

export const LINK_STATUSES = [
  'CONFIRMING',
  'COMPLETED',
  'REFUSED',
  'REAUTH_REQUIRED',
  'REMOVED',
] as const satisfies readonly LinkRow['status'][];

/** The `last_error` of a link that waits for its user, because Ring does not accept a nonce as old as the one that we hold. */
export const NONCE_TOO_OLD = 'nonce too old';

/** A link as its user may see it. */
export interface Link {
  id: LinkRow['id'];
  status: LinkRow['status'];
  /** Why Ring refused last, or why it could not be asked. Null when nothing has failed so far. */
  lastError: LinkRow['last_error'];
  updatedAt: LinkRow['updated_at'];
  /** When the user removed the app, by Ring's clock. */
  removedAt: LinkRow['removed_at'];
}

const COLUMNS = sql`id, status, last_error AS "lastError", updated_at AS "updatedAt", removed_at AS "removedAt"`;

/** The user's links, newest first. */
export function linksOfUser(db: Knex, userId: string): Promise<Link[]> {
  return rows<Link>(
    db,
    sql`SELECT ${COLUMNS} FROM account_links WHERE user_id = ${userId} ORDER BY updated_at DESC LIMIT 50`,
  );
}

/** The user's link that changed last. A link that has ended does not count once the user has linked its account again. */
export function newestLinkOfUser(db: Knex, userId: string): Promise<Link | undefined> {
  return row<Link>(
    db,
    sql`SELECT ${COLUMNS} FROM account_links AS link
         WHERE user_id = ${userId}
           AND (${isLive('link')} OR NOT EXISTS (SELECT 1 FROM account_links AS again
                                           WHERE again.account_id = link.account_id AND again.user_id = link.user_id
                                             AND ${isLive('again')}))
         ORDER BY updated_at DESC LIMIT 1`,
  );
}

export function findLink(db: Knex, linkId: string): Promise<Link | undefined> {
  return row<Link>(db, sql`SELECT ${COLUMNS} FROM account_links WHERE id = ${linkId}`);
}
