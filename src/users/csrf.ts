import type { Request } from 'express';
import { csrfSync } from 'csrf-sync';
import { saveSession } from './session.js';

const forms = csrfSync({
  getTokenFromRequest: (request) => (request.body as { _csrf?: unknown } | undefined)?._csrf as string | undefined,
});
const scripts = csrfSync({ getTokenFromRequest: (request) => request.get('x-csrf-token') });

/** Refuses (403) every form that does not carry the token of its session in the field `_csrf`. */
export const csrfProtection = forms.csrfSynchronisedProtection;

/** Refuses (403) every change by a script that does not carry the token of its session in the header `X-CSRF-Token`. */
export const csrfHeaderProtection = scripts.csrfSynchronisedProtection;

/**
 * The token that the page's forms carry, and its scripts. A session that has none yet is stored before the page is shown:
 * a form that could not be sent is worse than no page.
 */
export async function csrfToken(request: Request): Promise<string> {
  const { csrfToken: present } = request.session;
  if (typeof present === 'string') return present;
  const token = forms.generateToken(request);
  await saveSession(request);
  return token;
}
