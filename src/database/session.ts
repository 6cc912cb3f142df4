import pg, { type ClientBase } from 'pg';

// The driver would write a Date as the wall clock of this process with its offset in whole minutes, which is another
// instant where that zone kept local mean time: Tokyo's was 18 minutes and 59 seconds past the hour until 1887.
pg.defaults.parseInputDatesAsUTC = true;

/**
 * Settles how Postgres works on a new connection of ours, whatever the server, the database or the role is set to. It
 * calculates and writes in UTC: a day of an interval has 24 hours, a time within JSON reads the same everywhere, and the
 * driver gets ISO 8601.
 *
 * These are statements and not parameters of the connection, because PgBouncer refuses parameters that it doesn't know.
 *
 * @param limitMs the longest time for a statement, and for doing nothing within a transaction; without it there is none
 */
export async function prepareSession(client: ClientBase, limitMs?: number): Promise<void> {
  const settings = [`SET TimeZone = 'UTC'`, `SET DateStyle = 'ISO'`];
  if (limitMs !== undefined) {
    settings.push(`SET statement_timeout = ${limitMs}`, `SET idle_in_transaction_session_timeout = ${limitMs}`);
  }
  await client.query(settings.join('; '));
}
