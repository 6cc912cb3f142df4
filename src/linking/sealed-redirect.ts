import type { Sealed, Vault } from '../tokens/vault.js';
import type { Redirect } from './redirect.js';

/** Seals a redirect wherever it has to wait, because a fresh one is enough to finish its user's link. */
export function sealRedirect(vault: Vault, { nonce, time }: Redirect, place: string): Sealed {
  return vault.seal(`${time}:${nonce}`, place);
}

/** @throws {VaultError} */
export function openRedirect(vault: Vault, sealed: Sealed, place: string): Redirect {
  const [time = '', nonce = ''] = vault.open(sealed, place).split(':');
  return { nonce, time };
}
