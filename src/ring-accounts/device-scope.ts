import { type Sql, sql } from '../database/sql.js';

/** Devices of a Ring account: one of them, or all. */
export interface DeviceScope {
  accountId: string;
  deviceId?: string | undefined;
}

/** SQL: the rows of a scope, in a table with `account_id` and `device_id`. */
export function inScope({ accountId, deviceId }: DeviceScope): Sql {
  return sql`account_id = ${accountId} AND device_id = coalesce(${deviceId ?? null}, device_id)`;
}
