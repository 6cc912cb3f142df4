import type { Request } from 'express';
import { VaultError, type Vault } from '../tokens/vault.js';
import type { Redirect } from './redirect.js';
import { openRedirect, sealRedirect } from './sealed-redirect.js';

/** The same place for all sessions, because a sign-in moves the redirect to a session with another ID. */
const SESSION_PLACE = 'sessions/pending_link';

/** Keeps the redirect that a browser came with in its session, until its user has signed in. */
export function keepPendingRedirect(vault: Vault, request: Request, redirect: Redirect): void {
  const { keyId, ciphertext } = sealRedirect(vault, redirect, SESSION_PLACE);
  request.session.pendingLink = `${keyId}:${ciphertext.toString('base64url')}`;
}

/** The pending redirect, or undefined when there is none or its key is gone: then the user taps Sign In again. */
export function readPendingRedirect(vault: Vault, request: Request): Redirect | undefined {
  const [keyId, ciphertext] = request.session.pendingLink?.split(':') ?? [];
  if (keyId === undefined || ciphertext === undefined) return undefined;
  try {
    return openRedirect(vault, { keyId, ciphertext: Buffer.from(ciphertext, 'base64url') }, SESSION_PLACE);
  } catch (error) {
    if (error instanceof VaultError) return undefined;
    throw error;
  }
}

export function dropPendingRedirect(request: Request): void {
  delete request.session.pendingLink;
}
