import type { RingUser } from '../state/accounts.js';
import type { Simulation } from '../state/state.js';
import { removeApp, removeDevice } from '../state/unlinking.js';
import type { Happening } from './events.js';

/** Changes Ring's state as the event says. A device or an app that isn't there changes nothing. */
export function takeEffect(
  simulation: Simulation,
  user: RingUser,
  { event, device_id, subscription }: Happening,
): void {
  switch (event.data.type) {
    case 'device_online':
      setOnline(user, device_id, true);
      return;
    case 'device_offline':
      setOnline(user, device_id, false);
      if (device_id !== undefined) simulation.state.liveViews.closeAll(user.account_id, device_id);
      return;
    case 'device_added':
      addDevice(user, device_id);
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
    default:
    // Motion, a button press and unknown types change nothing at Ring.
  }
}

function setOnline(user: RingUser, deviceId: string | undefined, online: boolean): void {
  const device = user.devices.find(({ id }) => id === deviceId);
  if (device !== undefined) device.online = online;
}

function addDevice({ devices, integration }: RingUser, deviceId: string | undefined): void {
  const device = devices.find(({ id }) => id === deviceId);
  if (device === undefined || integration === null || integration.device_ids.includes(device.id)) return;
  integration.device_ids.push(device.id);
}
