import type { Request } from 'express';
import { VaultError, type Vault } from '../tokens/vault.js';
import type { LinkRequest } from './redirect.js';
import { openRequest, sealRequest } from './sealed-redirect.js';

/** Of what is sealed in a session. The same for all of them: a sign-in moves it to a session with another id. */
const SESSION_PLACE = 'sessions/pending_link';

/** The link that a browser came for waits in its session until its user has signed in. */
export function keepPendingLink(vault: Vault, request: Request, link: LinkRequest): void {
  const { keyId, ciphertext } = sealRequest(vault, link, SESSION_PLACE);
  request.session.pendingLink = `${keyId}:${ciphertext.toString('base64url')}`;
}

/** The pending link, or undefined when there is none or its key is gone: then the user taps Sign In again. */
export function readPendingLink(vault: Vault, request: Request): LinkRequest | undefined {
  const [keyId, ciphertext] = request.session.pendingLink?.split(':') ?? [];
  if (keyId === undefined || ciphertext === undefined) return undefined;
  try {
    return openRequest(vault, { keyId, ciphertext: Buffer.from(ciphertext, 'base64url') }, SESSION_PLACE);
  } catch (error) {
    if (error instanceof VaultError) return undefined;
    throw error;
  }
}

export function dropPendingLink(request: Request): void {
  delete request.session.pendingLink;
}
