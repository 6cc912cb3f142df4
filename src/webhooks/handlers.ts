import type { EventType, RingEvent } from '../ring/events.js';
import type { Handler, HandlerContext } from './handler.js';
import { appIntegrationAdded } from './handlers/app-integration-added.js';
import { appIntegrationRemoved } from './handlers/app-integration-removed.js';
import { buttonPress } from './handlers/button-press.js';
import { deviceAdded } from './handlers/device-added.js';
import { deviceOffline } from './handlers/device-offline.js';
import { deviceOnline } from './handlers/device-online.js';
import { deviceRemoved } from './handlers/device-removed.js';
import { motionDetected } from './handlers/motion-detected.js';
import { sensor } from './handlers/sensor.js';
import { subscriptionActivated } from './handlers/subscription-activated.js';
import { subscriptionDeactivated } from './handlers/subscription-deactivated.js';

/** The handler of each type of event. A new type is a schema in `ring/events.ts`, a file in `handlers/` and a line here. */
const HANDLERS: { readonly [Type in EventType]: Handler<Type> } = {
  motion_detected: motionDetected,
  button_press: buttonPress,
  device_added: deviceAdded,
  device_removed: deviceRemoved,
  device_online: deviceOnline,
  device_offline: deviceOffline,
  contact_sensor_faulted: sensor,
  contact_sensor_cleared: sensor,
  flood_detected: sensor,
  flood_cleared: sensor,
  freeze_detected: sensor,
  freeze_cleared: sensor,
  tamper_detected: sensor,
  tamper_cleared: sensor,
  app_integration_added: appIntegrationAdded,
  app_integration_removed: appIntegrationRemoved,
  subscription_activated: subscriptionActivated,
  subscription_deactivated: subscriptionDeactivated,
};

export function handle(context: HandlerContext, event: RingEvent): Promise<void> {
  // HANDLERS pairs each handler with its event; the compiler can't follow that through an index.
  const handler = HANDLERS[event.type] as Handler<EventType>;
  return handler(context, event);
}
