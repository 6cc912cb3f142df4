import type { Integration, RingUser } from './accounts.js';
import { removeIntegration } from './accounts.js';
import type { Simulation } from './state.js';

/** The user takes the app out of the account. */
export function removeApp(_simulation: Simulation, user: RingUser, tokens: Integration['tokens']): void {
  removeIntegration(user, tokens);
}

/** The user takes a device away from the app. The device itself stays: it can be added again. */
export function removeDevice(_simulation: Simulation, user: RingUser, deviceId: string): void {
  const { integration } = user;
  if (integration === null) return;
  integration.device_ids = integration.device_ids.filter((id) => id !== deviceId);
}
