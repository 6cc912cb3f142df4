import { HttpError } from '../http/errors.js';

/** The answer of every page and route for a device that the user may not see, whatever the reason. */
export const noSuchDevice = (cause?: unknown): HttpError =>
  new HttpError(404, 'There is no such device, or it is no longer shared in the Ring app.', { cause });

/** The answer for what a device offers when no subscription covers it. */
export const uncoveredDevice = (): HttpError =>
  new HttpError(
    403,
    'Live view, pictures, recordings and schedules need an active subscription that covers the device.',
    {
      heading: 'No active subscription covers this device',
      steps: ['Get or renew it in the Ring app.', 'Then come back: the device’s page follows by itself.'],
    },
  );
