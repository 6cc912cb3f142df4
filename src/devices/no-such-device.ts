import { HttpError } from '../http/errors.js';

/** The answer of every page and route for a device that the user may not see, whatever the reason. */
export const noSuchDevice = (cause?: unknown): HttpError =>
  new HttpError(404, 'There is no such device, or it is no longer shared in the Ring app.', { cause });
