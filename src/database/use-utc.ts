import type { ClientBase } from 'pg';

/**
 * Postgres reckons and writes in UTC on this connection, whatever the server, the database or the role is set to: a day
 * of an interval has 24 hours, a time within JSON reads the same everywhere, and what the driver is given is ISO 8601.
 */
export async function useUtc(client: ClientBase): Promise<void> {
  await client.query(`SET TimeZone = 'UTC'; SET DateStyle = 'ISO'`);
}
