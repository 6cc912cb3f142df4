import type { Knex } from 'knex';

export interface DeviceEvent {
  requestId: string;
  accountId: string;
  deviceId: string;
  type: string;
  subtype?: string | undefined;
  occurredAt: Date;
}

/** Notes what a device has told, unless it was removed since: what happened before that is erased. */
export async function recordDeviceEvent(trx: Knex, event: DeviceEvent): Promise<void> {
  const { requestId, accountId, deviceId, type, subtype, occurredAt } = event;
  await trx.raw(
    `INSERT INTO device_events (request_id, account_id, device_id, type, subtype, occurred_at)
     SELECT ?, ?, ?, ?, ?, ?
      WHERE NOT EXISTS (SELECT 1 FROM devices WHERE account_id = ? AND id = ? AND removed_at >= ?)
     ON CONFLICT (request_id) DO NOTHING`,
    [requestId, accountId, deviceId, type, subtype ?? null, occurredAt, accountId, deviceId, occurredAt],
  );
}
