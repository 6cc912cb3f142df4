import type { Response } from 'express';

/**
 * Sends the browser on, once its session is stored. Without a body on purpose: express-session lets go of the head of an
 * answer that has one before it stores the session, and the browser that follows at once would find it as it was.
 */
export function seeOther(response: Response, path: string): void {
  response.status(303).set({ Location: path, 'Content-Length': '0' }).end();
}
