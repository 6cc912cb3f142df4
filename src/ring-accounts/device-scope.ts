import { type Sql, sql } from '../database/sql.js';

/** Devices of a Ring account: one of them, or all. */
export interface DeviceScope {
  accountId: string;
  deviceId?: string | undefined;
}

export interface DeviceKey {
  accountId: string;
  deviceId: string;
}

/** SQL: the account and the ID of each of these devices, as a list of pairs. */
export function these(devices: readonly DeviceKey[]): Sql {
  const accountIds = devices.map(({ accountId }) => accountId);
  const deviceIds = devices.map(({ deviceId }) => deviceId);
  return sql`(SELECT * FROM unnest(${accountIds}::text[], ${deviceIds}::text[]))`;
}

/** SQL: the rows of a scope, in a table with `account_id` and `device_id`. */
export function inScope({ accountId, deviceId }: DeviceScope): Sql {
  return sql`account_id = ${accountId} AND device_id = coalesce(${deviceId ?? null}, device_id)`;
}
