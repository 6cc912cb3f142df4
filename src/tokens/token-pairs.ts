import type { Tables } from '../database/tables.js';
import type { TokenPair } from '../ring/client.js';
import { accessTokenPlace, refreshTokenPlace } from './places.js';
import type { Vault } from './vault.js';

/** The columns of `ring_tokens` that hold a sealed pair. */
export type SealedPair = {
  [Column in 'key_id' | 'access_token_ciphertext' | 'refresh_token_ciphertext']: NonNullable<
    Tables['ring_tokens'][Column]
  >;
};

/** Seals both tokens of a pair under the vault's newest key, for the row with this ID alone. */
export function sealPair(vault: Vault, tokenId: string, pair: TokenPair): SealedPair {
  const access = vault.seal(pair.accessToken, accessTokenPlace(tokenId));
  const refresh = vault.seal(pair.refreshToken, refreshTokenPlace(tokenId));
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
