import { recordDeviceEvents } from '../../events/record-events.js';
import { hearSensors } from '../../inventory/sensors.js';
import { refetchStatus } from '../../ring-accounts/refetch.js';
import { SENSOR_EVENTS, type SensorEventType } from '../../ring/events.js';
import type { Handler } from '../handler.js';

/** An event that comes later than this was delivered again, and another may have overtaken it. */
const PROMPT_MS = 5_000;

/** Notes how a sensor is. After an event that may have been overtaken a job asks Ring, which knows. */
export const sensor: Handler<SensorEventType> = async ({ trx, now }, event) => {
  const { accountId, deviceId, occurredAt, type } = event;
  await recordDeviceEvents(trx, [event]);
  const { sensor: which, faulted } = SENSOR_EVENTS[type];
  const words = { accountId, deviceId, faulted: { [which]: faulted }, at: occurredAt, isChange: true };
  const isNewest = await hearSensors(trx, words);
  if (!isNewest || now.getTime() - occurredAt.getTime() > PROMPT_MS) await refetchStatus(trx, event);
};
