import type { Request } from 'express';
import { csrfSync } from 'csrf-sync';
import { saveSession } from './session.js';

const { csrfSynchronisedProtection, generateToken } = csrfSync({
  getTokenFromRequest: (request) => (request.body as { _csrf?: unknown } | undefined)?._csrf as string | undefined,
});

/** Refuses (403) every form that does not carry the token of its session in the field `_csrf`. */
export const csrfProtection = csrfSynchronisedProtection;

/**
 * The token that the page's forms carry. Creates the session if there is none, and stores it before the page is shown:
 * a form that could not be sent is worse than no page.
 */
export async function csrfToken(request: Request): Promise<string> {
  const token = generateToken(request);
  await saveSession(request);
  return token;
}
