import type { Knex } from 'knex';
import { row, rows } from '../database/database.js';
import { linkToldOf, type ReceivedEvent } from './installation.js';
import { IS_LIVE } from './link-conditions.js';

export const LINK_STATUSES = ['CONFIRMING', 'COMPLETED', 'REFUSED', 'REAUTH_REQUIRED', 'REMOVED'] as const;
export type LinkStatus = (typeof LINK_STATUSES)[number];

/** `last_error` of a link that waits for its user, because Ring takes no nonce as old as the one that we hold. */
export const NONCE_TOO_OLD = 'nonce too old';

/** A link as its user may see it. */
export interface Link {
  id: string;
  status: LinkStatus;
  /** Ring's last no, or why it could not be asked; null when all went well so far. */
  lastError: string | null;
  updatedAt: Date;
  /** When the user removed the app, by Ring's clock. */
  removedAt: Date | null;
}

const COLUMNS = 'id, status, last_error AS "lastError", updated_at AS "updatedAt", removed_at AS "removedAt"';

/** The user's links, newest first. */
export function linksOfUser(db: Knex, userId: string): Promise<Link[]> {
  return rows<Link>(db, `SELECT ${COLUMNS} FROM account_links WHERE user_id = ? ORDER BY updated_at DESC LIMIT 50`, [
    userId,
  ]);
}

/** The link that changed last. One that has ended is none of the newest when its user has linked the same account again. */
export function newestLinkOfUser(db: Knex, userId: string): Promise<Link | undefined> {
  return row<Link>(
    db,
    `SELECT ${COLUMNS} FROM account_links AS link
      WHERE user_id = ?
        AND (${IS_LIVE} OR NOT EXISTS (SELECT 1 FROM account_links AS again
                                        WHERE again.account_id = link.account_id AND again.user_id = link.user_id
                                          AND again.${IS_LIVE}))
      ORDER BY updated_at DESC LIMIT 1`,
    [userId],
  );
}

export function findLink(db: Knex, linkId: string): Promise<Link | undefined> {
  return row<Link>(db, `SELECT ${COLUMNS} FROM account_links WHERE id = ?`, [linkId]);
}

/** Records Ring's own confirmation: it says by a webhook that the app was added. */
export async function markConfirmedByRing(trx: Knex, event: ReceivedEvent & { occurredAt: Date }): Promise<void> {
  const link = await linkToldOf(trx, event);
  if (link === undefined) return;
  await trx.raw('UPDATE account_links SET ring_confirmed_at = greatest(ring_confirmed_at, ?) WHERE id = ?', [
    event.occurredAt,
    link.id,
  ]);
}
