import { HttpError } from '../http/errors.js';

/** The answer of every page and route for a device that the user may not see, whatever the reason. */
export const noSuchDevice = (cause?: unknown): HttpError =>
  new HttpError(404, 'There is no such device, or it is no longer shared in the Ring app.', { cause });

/** The answer for what a device offers when no subscription covers it. */
export const uncoveredDevice = (): HttpError =>
  new HttpError(
    403,
    'This needs an active subscription that covers the device. Get or renew it in the Ring app; this app follows by itself.',
  );
