import { csrfSync } from 'csrf-sync';
import type { Request } from 'express';
import { saveSession } from './session.js';

const forms = csrfSync({
  getTokenFromRequest: (request) => (request.body as { _csrf?: unknown } | undefined)?._csrf as string | undefined,
});
const scripts = csrfSync({ getTokenFromRequest: (request) => request.get('x-csrf-token') });

/** Refuses (403) a form that does not carry the token of its session in the field `_csrf`. */
export const csrfProtection = forms.csrfSynchronisedProtection;

/** Refuses (403) a script's request that does not carry the token of its session in the header `X-CSRF-Token`. */
export const csrfHeaderProtection = scripts.csrfSynchronisedProtection;

/**
 * The token for a page's forms and scripts. A new one is stored before the page is shown, because a page whose forms are
 * refused is worse than an error.
 */
export async function csrfToken(request: Request): Promise<string> {
  const { csrfToken: present } = request.session;
  if (typeof present === 'string') return present;
  const token = forms.generateToken(request);
  await saveSession(request);
  return token;
}
