import type { Knex } from 'knex';
import { row, rows } from '../database/database.js';

export type LinkStatus = 'CONFIRMING' | 'COMPLETED' | 'REFUSED' | 'REAUTH_REQUIRED' | 'REMOVED';

/** A link as its user may see it. */
export interface Link {
  id: string;
  status: LinkStatus;
  /** Ring's last no, or why it could not be asked. */
  lastError: string | null;
  updatedAt: Date;
}

const COLUMNS = 'id, status, last_error AS "lastError", updated_at AS "updatedAt"';

/** Where the request that made a link is sealed. */
export const requestPlace = (linkId: string): string => `account_links/${linkId}/request`;

/** The user's links, newest first. */
export function linksOfUser(database: Knex, userId: string): Promise<Link[]> {
  return rows<Link>(
    database,
    `SELECT ${COLUMNS} FROM account_links WHERE user_id = ? ORDER BY updated_at DESC LIMIT 50`,
    [userId],
  );
}

export async function newestLinkOfUser(database: Knex, userId: string): Promise<Link | undefined> {
  const [newest] = await linksOfUser(database, userId);
  return newest;
}

export function findLink(database: Knex, linkId: string): Promise<Link | undefined> {
  return row<Link>(database, `SELECT ${COLUMNS} FROM account_links WHERE id = ?`, [linkId]);
}
