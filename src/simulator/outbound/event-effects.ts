import type { RingUser } from '../state/accounts.js';
import type { Device, Sensor } from '../state/devices.js';
import { changeDevice } from '../state/devices.js';
import type { RecordingKind } from '../state/recordings.js';
import type { Simulation } from '../state/state.js';
import { removeApp, removeDevice } from '../state/unlinking.js';
import type { Happening } from './events.js';
import { SENSOR_EVENTS } from './events.js';

/** Changes Ring's state as the event says. A device or an app that isn't there changes nothing. */
export function takeEffect(simulation: Simulation, user: RingUser, happening: Happening): void {
  const { event, at, device_id, subscription } = happening;
  const device = user.devices.find(({ id }) => id === device_id);
  switch (event.data.type) {
    case 'motion_detected':
      if (device !== undefined) record(simulation, user, device, 'motion', happening);
      return;
    case 'button_press':
      if (device !== undefined) record(simulation, user, device, 'ding', happening);
      return;
    case 'device_online':
      if (device !== undefined) changeDevice(device, { online: true }, at);
      return;
    case 'device_offline':
      if (device === undefined) return;
      changeDevice(device, { online: false }, at);
      simulation.state.liveViews.closeAll(user.account_id, device.id);
      return;
    case 'device_added':
      if (device !== undefined) addDevice(user, device);
      return;
    case 'device_removed':
      if (device_id !== undefined) removeDevice(simulation, user, device_id);
      return;
    case 'app_integration_removed':
      removeApp(simulation, user, 'revoked');
      return;
    case 'subscription_activated':
    case 'subscription_deactivated':
      if (subscription === undefined) return;
      user.subscriptions = [...user.subscriptions.filter(({ id }) => id !== subscription.id), subscription];
      return;
    default: {
      // Unknown types change nothing at Ring.
      const sensed = SENSOR_EVENTS.get(event.data.type);
      if (device !== undefined && sensed !== undefined) sense(device, sensed, at);
    }
  }
}

/** The device records for a while. That makes pictures, a clip, and an event in history, with or without a webhook. */
function record(
  { state }: Simulation,
  { account_id }: RingUser,
  device: Device,
  kind: RecordingKind,
  { at, sub_type }: Happening,
): void {
  const { recordingMs, recordingReadyAfterMs } = state.settings;
  state.recordings.add({
    account_id,
    device_id: device.id,
    kind,
    sub_type: sub_type ?? null,
    start: at,
    end: at + recordingMs,
    ready_at: at + recordingReadyAfterMs,
    condition: 'good',
  });
}

function sense(device: Device, { sensor, isFaulted }: { sensor: Sensor; isFaulted: boolean }, at: number): void {
  const others = device.faulted.filter((one) => one !== sensor);
  changeDevice(device, { faulted: isFaulted ? [...others, sensor] : others }, at);
}

function addDevice({ integration }: RingUser, { id }: Device): void {
  if (integration === null || integration.device_ids.includes(id)) return;
  integration.device_ids.push(id);
}
