import type { Request } from 'express';
import { csrfSync } from 'csrf-sync';

const { csrfSynchronisedProtection, generateToken } = csrfSync({
  getTokenFromRequest: (request) => (request.body as { _csrf?: unknown } | undefined)?._csrf as string | undefined,
});

/** Refuses (403) every form that does not carry the token of its session in the field `_csrf`. */
export const csrfProtection = csrfSynchronisedProtection;

/** The token that the page's forms carry. Creates the session if there is none. */
export const csrfToken = (request: Request): string => generateToken(request);
