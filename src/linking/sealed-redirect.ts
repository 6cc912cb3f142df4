import type { Sealed, Vault } from '../tokens/vault.js';
import type { LinkRequest } from './redirect.js';

/** Whoever holds a fresh request can finish somebody's link: wherever one has to wait, it waits sealed. */
export function sealRequest(vault: Vault, { nonce, time }: LinkRequest, place: string): Sealed {
  return vault.seal(`${time}:${nonce}`, place);
}

/** @throws {VaultError} */
export function openRequest(vault: Vault, sealed: Sealed, place: string): LinkRequest {
  const [time = '', nonce = ''] = vault.open(sealed, place).split(':');
  return { nonce, time };
}
