import type { TokenGrant } from '../ring/client.js';
import { accessTokenPlace, refreshTokenPlace } from './places.js';
import type { Vault } from './vault.js';

/** The columns of `ring_tokens` that hold a sealed pair. */
export interface SealedPair {
  key_id: string;
  access_token_ciphertext: Buffer;
  refresh_token_ciphertext: Buffer;
}

/** SQL: what a row of `ring_tokens` loses when its pair ends. The row itself stays, to show that there was one. */
export const ERASE = 'key_id = NULL, access_token_ciphertext = NULL, refresh_token_ciphertext = NULL';

export function sealPair(vault: Vault, tokenId: string, grant: TokenGrant): SealedPair {
  const access = vault.seal(grant.accessToken, accessTokenPlace(tokenId));
  const refresh = vault.seal(grant.refreshToken, refreshTokenPlace(tokenId));
  return {
    key_id: access.keyId,
    access_token_ciphertext: access.ciphertext,
    refresh_token_ciphertext: refresh.ciphertext,
  };
}

/** @throws {VaultError} */
export function openAccessToken(
  vault: Vault,
  tokenId: string,
  pair: Pick<SealedPair, 'key_id' | 'access_token_ciphertext'>,
): string {
  return vault.open({ keyId: pair.key_id, ciphertext: pair.access_token_ciphertext }, accessTokenPlace(tokenId));
}

/** @throws {VaultError} */
export function openRefreshToken(
  vault: Vault,
  tokenId: string,
  pair: Pick<SealedPair, 'key_id' | 'refresh_token_ciphertext'>,
): string {
  return vault.open({ keyId: pair.key_id, ciphertext: pair.refresh_token_ciphertext }, refreshTokenPlace(tokenId));
}
