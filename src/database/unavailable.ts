/**
 * Postgres' codes for: connection exceptions, shutting down or starting up, no room, a failing disk, a time limit, read-only
 * after a failover, a lock timeout, a conflict with another transaction.
 */
const SQL_STATES = /^(08...|57P0[1-5]|53...|58...|57014|25P03|25006|55P03|40001|40P01)$/;

const NETWORK_CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EPIPE',
  'EHOSTUNREACH',
]);

/** The driver's errors without a code. Knex puts the statement in front: `SELECT … - Connection terminated`. */
const MESSAGES =
  /(^| - )(Connection terminated|timeout expired|timeout exceeded when trying to connect|Client has encountered a connection error|Client was closed|Query read timeout)/;

/** Whether an error means that the database is unavailable, and not that the statement is wrong. */
export function isDatabaseUnavailable(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as { code?: unknown };
  if (typeof code === 'string' && (SQL_STATES.test(code) || NETWORK_CODES.has(code))) return true;
  if (error.name === 'KnexTimeoutError' || MESSAGES.test(error.message)) return true;
  return error instanceof AggregateError && error.errors.some(isDatabaseUnavailable);
}
