import type { Knex } from 'knex';
import { row, sql } from '../database/sql.js';
import { type SensorState, type SensorStates } from '../devices/sensors.js';
import { type DeviceReference, refetchDevice } from '../ring-accounts/refetch.js';
import { type Sensor, SENSORS } from '../ring/devices.js';
import { SENSOR_EVENTS } from '../ring/events.js';
import { lockSensors, storeSensors } from './device-rows.js';

/** What Ring says about sensors of a device. */
export interface SensorWords extends Pick<DeviceReference, 'accountId' | 'deviceId'> {
  faulted: Partial<Record<Sensor, boolean>>;
  /** As of when: the newest word counts, whenever it arrives. */
  at: Date;
  /** Whether an event says so, which is recorded already. A status tells only that it is so by then. */
  isChange: boolean;
}

/**
 * Notes what Ring says about sensors. The outcome is the same in whatever order the words arrive.
 *
 * @returns whether each was the newest word about its sensor
 */
export async function hearSensors(
  trx: Knex.Transaction,
  { accountId, deviceId, faulted, at, isChange }: SensorWords,
): Promise<boolean> {
  if (Object.keys(faulted).length === 0) return true;
  const device = await lockSensors(trx, { accountId, deviceId });
  if (device === undefined) return false;
  const sensors: SensorStates = { ...device.sensors };
  let isNewest = true;
  for (const sensor of SENSORS) {
    const [before, isFaulted] = [sensors[sensor], faulted[sensor]];
    if (isFaulted === undefined) continue;
    const heard = hear(before, { faulted: isFaulted, at: at.toISOString() });
    isNewest &&= heard.isNewest;
    const mayBeginElsewhere = isChange || heard.faulted !== before?.faulted || heard.contrary_at !== before.contrary_at;
    const since = mayBeginElsewhere ? await beginOf(trx, { accountId, deviceId, sensor }, heard, before) : before.since;
    const { at: newest, contrary_at } = heard;
    sensors[sensor] = { faulted: heard.faulted, at: newest, since, contrary_at };
  }
  await storeSensors(trx, { accountId, deviceId }, sensors);
  if (device.name === null) await refetchDevice(trx, { accountId, deviceId, occurredAt: at });
  return isNewest;
}

type Heard = Omit<SensorState, 'since'>;

/** Times are ISO 8601 in UTC, so that the order of the texts is the order of the times. */
function hear(
  before: SensorState | undefined,
  word: Pick<SensorState, 'faulted' | 'at'>,
): Heard & { isNewest: boolean } {
  if (before === undefined) return { ...word, contrary_at: null, isNewest: true };
  const isNewest = word.at >= before.at;
  if (word.faulted === before.faulted) {
    return { ...before, at: isNewest ? word.at : before.at, isNewest };
  }
  if (isNewest) return { ...word, contrary_at: before.at, isNewest };
  return { ...before, contrary_at: latest(before.contrary_at, word.at), isNewest };
}

const latest = (one: string | null, other: string): string => (one !== null && one > other ? one : other);

/** Since when a sensor has been as it is: since the first event that says so, after the last word to the contrary. */
async function beginOf(
  trx: Knex.Transaction,
  { accountId, deviceId, sensor }: Pick<DeviceReference, 'accountId' | 'deviceId'> & { sensor: Sensor },
  { faulted, at, contrary_at }: Heard,
  before: SensorState | undefined,
): Promise<string | null> {
  const from = contrary_at ?? '-infinity';
  const first = await row<{ at: Date | null }>(
    trx,
    sql`SELECT min(occurred_at) AS at FROM device_events
         WHERE account_id = ${accountId} AND device_id = ${deviceId} AND type = ${eventOf(sensor, faulted)}
           AND occurred_at BETWEEN ${from}::timestamptz AND ${at}::timestamptz`,
  );
  const found = first?.at?.toISOString() ?? null;
  // Events are purged by age. The time that one of them has told stands.
  const known = before?.faulted === faulted ? before.since : null;
  if (known === null || known < (contrary_at ?? '')) return found;
  return found !== null && found < known ? found : known;
}

function eventOf(sensor: Sensor, faulted: boolean): string {
  const [type] =
    Object.entries(SENSOR_EVENTS).find(([, one]) => one.sensor === sensor && one.faulted === faulted) ?? [];
  if (type === undefined) throw new Error(`no event tells of ${sensor}`);
  return type;
}
