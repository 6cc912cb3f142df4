import type { Knex } from 'knex';
import { z } from 'zod';
import { run, sql } from '../database/sql.js';

/** The job that has the pending events of some Ring accounts applied. */
export const PROCESS_INBOX = 'process_inbox';

const Payload = z.object({ accountIds: z.array(z.string()) });

/**
 * Has the pending events of Ring accounts applied once the transaction is committed that makes them applicable. Deliveries
 * need no such job.
 */
export async function wakeAccounts(trx: Knex.Transaction, accountIds: readonly string[]): Promise<void> {
  const payload = JSON.stringify({ accountIds });
  await run(trx, sql`SELECT graphile_worker.add_job(${PROCESS_INBOX}, ${payload}::json)`);
}

/** @returns the Ring accounts that a job is about */
export const accountsOf = (payload: unknown): string[] => Payload.parse(payload).accountIds;
