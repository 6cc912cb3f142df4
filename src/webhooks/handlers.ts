import type { EventType, RingEvent } from '../ring/events.js';
import { applyGathered, gather } from './gathered.js';
import type { Handler, HandlerContext } from './handler.js';
import { appIntegrationAdded } from './handlers/app-integration-added.js';
import { appIntegrationRemoved } from './handlers/app-integration-removed.js';
import { deviceAdded } from './handlers/device-added.js';
import { deviceRemoved } from './handlers/device-removed.js';
import { sensor } from './handlers/sensor.js';
import { subscriptionActivated } from './handlers/subscription-activated.js';
import { subscriptionDeactivated } from './handlers/subscription-deactivated.js';

/** The handler of each type of event. A new type is a schema in `ring/events.ts`, a file in `handlers/` and a line here. */
const HANDLERS: { readonly [Type in EventType]: Handler<Type> } = {
  motion_detected: gather,
  button_press: gather,
  device_added: deviceAdded,
  device_removed: deviceRemoved,
  device_online: gather,
  device_offline: gather,
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

/** Applies an event, or gathers it. One that is not gathered comes after all that are. */
export async function handle(context: HandlerContext, event: RingEvent): Promise<void> {
  // HANDLERS pairs each handler with its event; the compiler can't follow that through an index.
  const handler = HANDLERS[event.type] as Handler<EventType>;
  if (handler !== gather) await applyGathered(context);
  await handler(context, event);
}
