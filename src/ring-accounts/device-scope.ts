/** Devices of an account: one of them, or all. */
export interface DeviceScope {
  accountId: string;
  deviceId?: string | undefined;
}

/** SQL: the rows that belong to a scope. Binds {@link bindScope}. */
export const IN_SCOPE = 'account_id = ? AND device_id = coalesce(?, device_id)';

export function bindScope({ accountId, deviceId }: DeviceScope): [accountId: string, deviceId: string | null] {
  return [accountId, deviceId ?? null];
}
