import pg, { type ClientBase } from 'pg';

// The driver would write a Date as the wall clock of this process with its offset in whole minutes, which is another
// instant where that zone kept local mean time: Tokyo's was 18 minutes and 59 seconds past the hour until 1887.
pg.defaults.parseInputDatesAsUTC = true;

/**
 * Has Postgres calculate and write in UTC on this connection, whatever the server, the database or the role is set to: a day
 * of an interval has 24 hours, a time within JSON reads the same everywhere, and the driver gets ISO 8601.
 */
export async function useUtc(client: ClientBase): Promise<void> {
  await client.query(`SET TimeZone = 'UTC'; SET DateStyle = 'ISO'`);
}
