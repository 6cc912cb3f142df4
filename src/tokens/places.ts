import { type Vault, VaultError } from './vault.js';

/**
 * The places of sealed secrets. A place is authenticated with its ciphertext, so a ciphertext that is moved to another row or
 * column does not open there.
 */
export const accessTokenPlace = (tokenId: string): string => `ring_tokens/${tokenId}/access_token`;
export const refreshTokenPlace = (tokenId: string): string => `ring_tokens/${tokenId}/refresh_token`;
/** The redirect that a link is made with. It is here because a key rotation has to find it. */
export const redirectPlace = (linkId: string): string => `account_links/${linkId}/request`;

export interface SealedColumns {
  table: string;
  keyColumn: string;
  ciphertexts: readonly { column: string; place: (rowId: string) => string }[];
}

/** All columns that hold sealed secrets. A session's are not among them, because they are of use for minutes only. */
export const SEALED_COLUMNS: readonly SealedColumns[] = [
  {
    table: 'ring_tokens',
    keyColumn: 'key_id',
    ciphertexts: [
      { column: 'access_token_ciphertext', place: accessTokenPlace },
      { column: 'refresh_token_ciphertext', place: refreshTokenPlace },
    ],
  },
  {
    table: 'account_links',
    keyColumn: 'request_key_id',
    ciphertexts: [{ column: 'request_ciphertext', place: redirectPlace }],
  },
];

export interface SealedRow {
  id: string;
  key_id: string;
  [ciphertext: string]: unknown;
}

/** @returns undefined when it does not open: altered, moved, or sealed under another key */
export function openSealed(
  vault: Vault,
  row: SealedRow,
  { column, place }: SealedColumns['ciphertexts'][number],
): string | undefined {
  const ciphertext = row[column];
  if (!Buffer.isBuffer(ciphertext)) throw new Error(`${column} is missing beside its key`);
  try {
    return vault.open({ keyId: row.key_id, ciphertext }, place(row.id));
  } catch (error) {
    if (error instanceof VaultError) return undefined;
    throw error;
  }
}
