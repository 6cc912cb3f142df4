import { setTimeout as delay } from 'node:timers/promises';
import type { Knex } from 'knex';
import { openSealed, SEALED_COLUMNS, type SealedColumns, type SealedRow } from './places.js';
import type { Vault } from './vault.js';

const BATCH = 100;
/** The pause before rows that were locked are tried again. */
const BUSY_PAUSE_MS = 200;
const FIRST_ID = '00000000-0000-0000-0000-000000000000';

export interface Progress {
  resealed: number;
  left: number;
}

/**
 * Seals under the newest key all that is sealed under another one. Each batch of rows is a transaction, so the service can go
 * on meanwhile, and a rotation that was interrupted can be started again.
 *
 * @param report called after each batch
 * @returns the rows that none of the keys opens. They are left as they are: altered, or sealed under another key
 */
export async function resealUnderNewestKey(
  db: Knex,
  vault: Vault,
  report: (progress: Progress) => void,
): Promise<string[]> {
  let resealed = 0;
  for (;;) {
    let left = await countLeft(db, vault.newestKeyId);
    const unreadable: string[] = [];
    for (const columns of SEALED_COLUMNS) {
      let after = FIRST_ID;
      for (;;) {
        const batch = await resealBatch(db, vault, columns, after);
        if (batch.lastId === undefined) break;
        after = batch.lastId;
        resealed += batch.resealed;
        left -= batch.resealed;
        unreadable.push(...batch.unreadable);
        if (batch.resealed > 0) report({ resealed, left });
      }
    }
    const isDone = (await countLeft(db, vault.newestKeyId)) <= unreadable.length;
    if (isDone) return unreadable;
    await delay(BUSY_PAUSE_MS);
  }
}

interface Batch {
  /** Undefined when no row was left. */
  lastId: string | undefined;
  resealed: number;
  unreadable: string[];
}

async function resealBatch(
  db: Knex,
  vault: Vault,
  { table, keyColumn, ciphertexts }: SealedColumns,
  after: string,
): Promise<Batch> {
  return db.transaction(async (trx) => {
    const names = ciphertexts.map(({ column }) => column);
    const { rows } = await trx.raw<{ rows: SealedRow[] }>(
      `SELECT id, ${keyColumn} AS key_id, ${names.join(', ')} FROM ${table}
        WHERE ${keyColumn} <> ? AND id > ? ORDER BY id LIMIT ${BATCH} FOR UPDATE SKIP LOCKED`,
      [vault.newestKeyId, after],
    );
    const changes = names.map((column) => `${column} = ?`).join(', ');
    const unreadable: string[] = [];
    for (const row of rows) {
      const secrets = ciphertexts.map((ciphertext) => openSealed(vault, row, ciphertext));
      if (secrets.includes(undefined)) {
        unreadable.push(`${table}/${row.id} (key "${row.key_id}")`);
        continue;
      }
      const resealed = ciphertexts.map(
        ({ place }, index) => vault.seal(secrets[index] ?? '', place(row.id)).ciphertext,
      );
      await trx.raw(`UPDATE ${table} SET ${keyColumn} = ?, ${changes} WHERE id = ?`, [
        vault.newestKeyId,
        ...resealed,
        row.id,
      ]);
    }
    return { lastId: rows.at(-1)?.id, resealed: rows.length - unreadable.length, unreadable };
  });
}

async function countLeft(db: Knex, newestKeyId: string): Promise<number> {
  const counts = SEALED_COLUMNS.map(
    ({ table, keyColumn }) => `(SELECT count(*) FROM ${table} WHERE ${keyColumn} <> :newest)`,
  );
  const { rows } = await db.raw<{ rows: { left: number }[] }>(`SELECT (${counts.join(' + ')})::int AS left`, {
    newest: newestKeyId,
  });
  return rows[0]?.left ?? 0;
}
