import type { Knex } from 'knex';
import { row, type Sql, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';
import { isLive } from './link-conditions.js';

/** A device by what names it in every table. */
export interface CoveredDevice {
  accountId: string;
  deviceId: string;
}

/** How a device stands, for its page. */
export interface Standing {
  isCovered: boolean;
  /** Whether Ring has ever told what its account has subscribed to. */
  isAnswered: boolean;
  /** Since when its pictures are erased for want of a subscription. */
  uncoveredSince: Tables['devices']['uncovered_since'];
}

/**
 * The one place that decides whether a device may be used: live views, pictures, clips and schedules ask it, routes, jobs
 * and pages alike. What begins or is stored asks inside its own transaction, **after** that has locked the device
 * (`lockDeviceOfUser`, `LOCK_SHARED`): then the end of a subscription comes wholly before it, or finds what it has stored.
 *
 * @see https://developer.amazon.com/docs/ring/api-documentation.html
 */
export interface Coverage {
  /** False: the app sells nothing, and every device is covered. */
  isRequired: boolean;
  /** Whether the device may be used: an active subscription covers it, or its user is exempt, or none is required. */
  isCovered(on: Knex, device: CoveredDevice, now: Date): Promise<boolean>;
  /** SQL: the same, of the device that two columns name. */
  covers: (device: { accountId: Sql; deviceId: Sql }, now: Date) => Sql;
  standing(on: Knex, device: CoveredDevice, now: Date): Promise<Standing>;
}

/**
 * How long after its end a subscription is asked about, and an answer is taken for one from after it: the clocks of Ring
 * and ours may be this far apart.
 */
export const AFTER_EXPIRY_MS = 60_000;
/** How long an answer counts that calls a subscription active whose date has passed. Ring is asked each hour meanwhile. */
const GRACE_MS = 86_400_000;

/** @param exempt the e-mail addresses of users who need no subscription */
export function createCoverage(isRequired: boolean, exempt: readonly string[]): Coverage {
  /**
   * Ring's last answer counts until its `expires_at`, also while Ring is away. An answer from after that date which still
   * says active is the truth, too.
   */
  function covers({ accountId, deviceId }: { accountId: Sql; deviceId: Sql }, now: Date): Sql {
    if (!isRequired) return sql`true`;
    const latestGrace = new Date(now.getTime() - GRACE_MS);
    return sql`
      (EXISTS (SELECT 1 FROM subscriptions AS sub
                WHERE sub.account_id = ${accountId} AND ${deviceId} = ANY (sub.device_ids) AND sub.status = 'active'
                  AND (sub.expires_at IS NULL OR sub.expires_at > ${now}
                       OR (sub.fetched_at > ${latestGrace}
                           AND sub.fetched_at >= sub.expires_at + ${AFTER_EXPIRY_MS} * interval '1 ms')))
       OR EXISTS (SELECT 1 FROM account_links AS own JOIN users ON users.id = own.user_id
                   WHERE own.account_id = ${accountId} AND ${isLive('own')}
                     AND users.email = ANY (${exempt}::text[])))`;
  }

  return {
    isRequired,
    covers,

    async isCovered(on, { accountId, deviceId }, now) {
      if (!isRequired) return true;
      const condition = covers({ accountId: sql`${accountId}::text`, deviceId: sql`${deviceId}::text` }, now);
      const found = await row<{ isCovered: boolean }>(on, sql`SELECT ${condition} AS "isCovered"`);
      return found?.isCovered === true;
    },

    async standing(on, { accountId, deviceId }, now) {
      if (!isRequired) return { isCovered: true, isAnswered: true, uncoveredSince: null };
      const condition = covers({ accountId: sql`device.account_id`, deviceId: sql`device.id` }, now);
      const found = await row<Standing>(
        on,
        sql`SELECT ${condition} AS "isCovered", device.uncovered_since AS "uncoveredSince",
                   EXISTS (SELECT 1 FROM account_links AS link
                            WHERE link.account_id = device.account_id AND ${isLive('link')}
                              AND link.subscriptions_answered_at IS NOT NULL) AS "isAnswered"
              FROM devices AS device WHERE device.account_id = ${accountId} AND device.id = ${deviceId}`,
      );
      return found ?? { isCovered: false, isAnswered: false, uncoveredSince: null };
    },
  };
}
