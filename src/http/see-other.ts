import type { Response } from 'express';

/**
 * Redirects the browser once its session is stored. There is no body on purpose: express-session sends the head of a
 * response with a body before it stores the session, and a fast browser would then find the former session.
 */
export function seeOther(response: Response, path: string): void {
  response.status(303).set({ Location: path, 'Content-Length': '0' }).end();
}
