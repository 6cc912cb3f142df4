import type { Knex } from 'knex';
import { row, run, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';

/**
 * The row of an authorization code that Ring was asked to exchange. All its transitions stand in this file: `EXCHANGING`
 * becomes the outcome, or the row is deleted because the code was not used up.
 */
export type ExchangeRow = Tables['token_exchanges'];

/** Adds the row of a code. @returns false when the code has come before */
export async function beginExchange(db: Knex, digest: Buffer, startedAt: Date): Promise<boolean> {
  const begun = await run(
    db,
    sql`INSERT INTO token_exchanges (code_digest, outcome, started_at) VALUES (${digest}, 'EXCHANGING', ${startedAt})
        ON CONFLICT (code_digest) DO NOTHING`,
  );
  return begun > 0;
}

export async function settleExchange(
  on: Knex,
  digest: Buffer,
  outcome: Exclude<ExchangeRow['outcome'], 'EXCHANGING'>,
): Promise<void> {
  await run(on, sql`UPDATE token_exchanges SET outcome = ${outcome} WHERE code_digest = ${digest}`);
}

/** Deletes the row of a code that was certainly not used up, so that it can be exchanged when it comes again. */
export async function dropExchange(db: Knex, digest: Buffer): Promise<void> {
  await run(db, sql`DELETE FROM token_exchanges WHERE code_digest = ${digest}`);
}

export function findExchange(
  db: Knex,
  digest: Buffer,
): Promise<Pick<ExchangeRow, 'outcome' | 'started_at'> | undefined> {
  return row(db, sql`SELECT outcome, started_at FROM token_exchanges WHERE code_digest = ${digest}`);
}

/** Purges by age, and sooner the codes that Ring has refused: there may be many, and Ring refuses them again. */
export async function purgeExchangesBefore(db: Knex, startedBefore: Date, refusedBefore: Date): Promise<void> {
  await run(
    db,
    sql`DELETE FROM token_exchanges
         WHERE started_at < ${startedBefore} OR (outcome = 'REFUSED' AND started_at < ${refusedBefore})`,
  );
}
