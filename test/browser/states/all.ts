import { ACCOUNT } from './account.js';
import { DEVICES } from './devices.js';
import { ERRORS } from './errors.js';
import { EVENTS } from './events.js';
import { HOMES } from './homes.js';
import { LINKING } from './linking.js';
import { SIGNED_OUT } from './signed-out.js';
import type { State } from './state.js';

/** Every page in every state. */
export const STATES: readonly State[] = [
  ...SIGNED_OUT,
  ...LINKING,
  ...HOMES,
  ...DEVICES,
  ...EVENTS,
  ...ACCOUNT,
  ...ERRORS,
];
