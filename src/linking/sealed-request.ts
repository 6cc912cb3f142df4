import type { Sealed, Vault } from '../tokens/vault.js';
import type { LinkRequest } from './link-request.js';

/** Where a pending link is sealed. The same for all sessions: a sign-in moves it to a session with another id. */
export const SESSION_PLACE = 'sessions/pending_link';

/** Where the request that made a link is sealed. */
export const linkPlace = (linkId: string): string => `account_links/${linkId}/request`;

/** Whoever holds a fresh request can finish somebody's link: wherever one has to wait, it waits sealed. */
export function sealRequest(vault: Vault, { nonce, time }: LinkRequest, place: string): Sealed {
  return vault.seal(`${time}:${nonce}`, place);
}

/** @throws {VaultError} */
export function openRequest(vault: Vault, sealed: Sealed, place: string): LinkRequest {
  const [time = '', nonce = ''] = vault.open(sealed, place).split(':');
  return { nonce, time };
}
