import type { Request } from 'express';
import { VaultError, type Vault } from '../tokens/vault.js';
import { type LinkRequest, parseLinkRequest } from './link-request.js';

/**
 * The link that a browser came for waits in its session, sealed: whoever can read the session table must not be able to
 * finish somebody else's link.
 */
const PLACE = 'sessions/pending_link';

export function keepPendingLink(vault: Vault, request: Request, link: LinkRequest): void {
  const { keyId, ciphertext } = vault.seal(JSON.stringify(link), PLACE);
  request.session.pendingLink = `${keyId}:${ciphertext.toString('base64url')}`;
}

/** The pending link, or undefined when there is none or its key is gone: then the user taps Sign In again. */
export function readPendingLink(vault: Vault, request: Request): LinkRequest | undefined {
  const [keyId, ciphertext] = request.session.pendingLink?.split(':') ?? [];
  if (keyId === undefined || ciphertext === undefined) return undefined;
  try {
    const opened = vault.open({ keyId, ciphertext: Buffer.from(ciphertext, 'base64url') }, PLACE);
    return parseLinkRequest(JSON.parse(opened));
  } catch (error) {
    if (error instanceof VaultError) return undefined;
    throw error;
  }
}

export function dropPendingLink(request: Request): void {
  delete request.session.pendingLink;
}
