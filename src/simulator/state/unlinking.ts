import type { Integration, RingUser } from './accounts.js';
import { removeIntegration } from './accounts.js';
import type { Simulation } from './state.js';

/** The user removes the app from the account. Its live views end. */
export function removeApp({ state }: Simulation, user: RingUser, tokens: Integration['tokens']): void {
  removeIntegration(user, tokens);
  state.liveViews.closeAll(user.account_id);
}

/** The user takes a device away from the app. Its live views end. The device itself stays and can be added again. */
export function removeDevice({ state }: Simulation, user: RingUser, deviceId: string): void {
  state.liveViews.closeAll(user.account_id, deviceId);
  const { integration } = user;
  if (integration === null) return;
  integration.device_ids = integration.device_ids.filter((id) => id !== deviceId);
}
