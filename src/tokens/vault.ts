import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

const ALGORITHM = 'aes-256-gcm';
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** A ciphertext and the id of the key that opens it. */
export interface Sealed {
  keyId: string;
  /** IV, authentication tag, ciphertext. */
  ciphertext: Buffer;
}

/** A secret can't be opened: its key is not configured, or it is not the ciphertext that was sealed for this place. */
export class VaultError extends Error {
  override readonly name = 'VaultError';
}

export interface Vault {
  /** The ID of the key that seals. */
  newestKeyId: string;
  /** Encrypts under the first key. `place` is the secret's identity; the ciphertext opens nowhere else. */
  seal(secret: string, place: string): Sealed;
  /** @throws {VaultError} */
  open(sealed: Sealed, place: string): string;
}

/**
 * AES-256-GCM with a random 96-bit IV for each secret. The place (table, row, column) is additional authenticated data:
 * someone who can write to the database still can't move a token to a row of their own.
 */
export function createVault(keys: readonly { id: string; key: Buffer }[]): Vault {
  const [newest] = keys;
  if (newest === undefined) throw new VaultError('the vault needs at least one key');
  const keyById = new Map(keys.map(({ id, key }) => [id, key]));

  return {
    newestKeyId: newest.id,

    seal(secret, place) {
      const iv = randomBytes(IV_BYTES);
      const cipher = createCipheriv(ALGORITHM, newest.key, iv, { authTagLength: TAG_BYTES });
      cipher.setAAD(Buffer.from(place));
      const encrypted = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
      return { keyId: newest.id, ciphertext: Buffer.concat([iv, cipher.getAuthTag(), encrypted]) };
    },

    open({ keyId, ciphertext }, place) {
      const key = keyById.get(keyId);
      if (key === undefined) throw new VaultError(`no key with the id "${keyId}" is configured`);
      if (ciphertext.length < IV_BYTES + TAG_BYTES) throw new VaultError('the ciphertext is truncated');
      const decipher = createDecipheriv(ALGORITHM, key, ciphertext.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES });
      decipher.setAAD(Buffer.from(place));
      decipher.setAuthTag(ciphertext.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
      try {
        return decipher.update(ciphertext.subarray(IV_BYTES + TAG_BYTES), undefined, 'utf8') + decipher.final('utf8');
      } catch (cause) {
        throw new VaultError(
          `a ciphertext under the key "${keyId}" does not open here: altered, moved, or another key`,
          {
            cause,
          },
        );
      }
    },
  };
}
