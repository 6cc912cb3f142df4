import { setTimeout as delay } from 'node:timers/promises';
import type { ClientBase, Pool } from 'pg';
import { SEALED_COLUMNS, type SealedColumns } from './places.js';
import { type Sealed, type Vault, VaultError } from './vault.js';

const BATCH = 100;
/** Rows that somebody holds at the moment are come back to. */
const BUSY_PAUSE_MS = 200;

/**
 * Seals under the newest key whatever is sealed under another one. Rows are changed in batches of their own transactions,
 * so the service can go on meanwhile, and whoever is interrupted starts again where it stopped.
 *
 * @param progress is told how many are done and how many are left, after each batch
 * @throws {VaultError} when a ciphertext can't be opened with the given keys; everything before it is done
 */
export async function resealUnderNewestKey(
  client: ClientBase,
  vault: Vault,
  progress: (done: number, left: number) => void,
): Promise<void> {
  let done = 0;
  for (;;) {
    let resealed = 0;
    for (const columns of SEALED_COLUMNS) resealed += await resealBatch(client, vault, columns);
    done += resealed;
    const left = await countLeft(client, vault.newestKeyId);
    progress(done, left);
    if (left === 0) return;
    if (resealed === 0) await delay(BUSY_PAUSE_MS);
  }
}

async function resealBatch(
  client: ClientBase,
  vault: Vault,
  { table, keyColumn, ciphertexts }: SealedColumns,
): Promise<number> {
  await client.query('BEGIN');
  try {
    const { rows } = await client.query<{ id: string; key_id: string } & Record<string, Buffer>>(
      `SELECT id, ${keyColumn} AS key_id, ${ciphertexts.map(({ column }) => column).join(', ')} FROM ${table}
        WHERE ${keyColumn} <> $1 LIMIT ${BATCH} FOR UPDATE SKIP LOCKED`,
      [vault.newestKeyId],
    );
    for (const row of rows) {
      const resealed = ciphertexts.map(({ column, place }) => {
        const ciphertext = row[column];
        if (ciphertext === undefined) throw new Error(`${table}.${column} is missing beside its key`);
        return reseal(vault, { keyId: row.key_id, ciphertext }, place(row.id));
      });
      const changes = ciphertexts.map(({ column }, index) => `${column} = $${index + 3}`).join(', ');
      await client.query(`UPDATE ${table} SET ${keyColumn} = $2, ${changes} WHERE id = $1`, [
        row.id,
        vault.newestKeyId,
        ...resealed,
      ]);
    }
    await client.query('COMMIT');
    return rows.length;
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  }
}

/** @throws {VaultError} naming the place, for an operator has to find it */
function reseal(vault: Vault, sealed: Sealed, place: string): Buffer {
  try {
    return vault.seal(vault.open(sealed, place), place).ciphertext;
  } catch (error) {
    throw error instanceof VaultError ? new VaultError(`${place}: ${error.message}`, { cause: error }) : error;
  }
}

async function countLeft(client: ClientBase, newestKeyId: string): Promise<number> {
  const counts = SEALED_COLUMNS.map(
    ({ table, keyColumn }) => `(SELECT count(*) FROM ${table} WHERE ${keyColumn} <> $1)`,
  );
  const { rows } = await client.query<{ left: number }>(`SELECT (${counts.join(' + ')})::int AS left`, [newestKeyId]);
  return rows[0]?.left ?? 0;
}

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
