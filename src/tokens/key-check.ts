import type { Pool } from 'pg';
import { openSealed, SEALED_COLUMNS, type SealedRow } from './places.js';
import type { Vault } from './vault.js';

/** A row is sealed under a key that the configuration does not have. */
export class MissingKeyError extends Error {
  override readonly name = 'MissingKeyError';
}

/** @throws {MissingKeyError} naming the keys that are needed, and for how many rows */
export async function requireEveryKey(database: Pool, keyIds: readonly string[]): Promise<void> {
  const needed = SEALED_COLUMNS.map(
    ({ table, keyColumn }) => `SELECT ${keyColumn} AS key_id, count(*)::int AS number FROM ${table}
                                WHERE ${keyColumn} IS NOT NULL GROUP BY 1`,
  );
  const { rows } = await database.query<{ key_id: string; number: number }>(
    `SELECT key_id, sum(number)::int AS number FROM (${needed.join(' UNION ALL ')}) AS needed
      WHERE key_id <> ALL ($1::text[]) GROUP BY 1 ORDER BY 1`,
    [keyIds],
  );
  if (rows.length === 0) return;
  const keys = rows.map(({ key_id, number }) => `"${key_id}" (${number} rows)`).join(', ');
  throw new MissingKeyError(
    `TOKEN_ENCRYPTION_KEYS: missing ${keys}; put the key back, and run tokens:rotate before you drop it`,
  );
}

/** How many rows are tried. One of them may have been altered. When none opens, the key is wrong. */
const SAMPLE = 20;

/** @returns the IDs of keys that open no row which is sealed under that ID: their bytes are wrong */
export async function findWrongKeys(database: Pool, vault: Vault, keyIds: readonly string[]): Promise<string[]> {
  const wrong: string[] = [];
  for (const keyId of keyIds) {
    const opens: boolean[] = [];
    for (const { table, keyColumn, ciphertexts } of SEALED_COLUMNS) {
      const { rows } = await database.query<SealedRow>(
        `SELECT id, ${keyColumn} AS key_id, ${ciphertexts.map(({ column }) => column).join(', ')} FROM ${table}
          WHERE ${keyColumn} = $1 LIMIT ${SAMPLE}`,
        [keyId],
      );
      for (const row of rows) opens.push(ciphertexts.some((one) => openSealed(vault, row, one) !== undefined));
    }
    if (opens.length > 0 && !opens.includes(true)) wrong.push(keyId);
  }
  return wrong;
}
