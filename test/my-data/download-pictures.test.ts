import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Owner, sharing } from '../support/devices.js';
import { signedIn } from '../support/linking.js';
import { until } from '../support/until.js';
import { startWorld, type World } from '../support/world.js';

const PICTURES = 20;
const PICTURE_BYTES = 1_000_000;
/** Of all users, at one process. */
const MOST_AT_ONCE = 4;

let world: World;
let owner: Owner;
beforeAll(async () => {
  world = await startWorld();
  owner = await sharing(world);
  await world.sql(
    `INSERT INTO snapshots (id, account_id, device_id, taken_at, content_type, picture)
     SELECT gen_random_uuid(), $1, $2, now() - n * interval '1 min', 'image/jpeg',
            convert_to(repeat(md5(n::text), $4 / 32), 'UTF8')
       FROM generate_series(1, $3) n`,
    [owner.ringUser.account_id, owner.device.id, PICTURES, PICTURE_BYTES],
  );
});
afterAll(() => world.stop());

/** The answer, of which nothing is read yet beyond what fits into the buffers on the way. */
async function begin(): Promise<IncomingMessage> {
  const sent = request(`${world.url}/account/data`, { headers: { cookie: owner.visitor.cookie }, agent: false });
  sent.end();
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  response.on('error', () => undefined);
  return response;
}

const waitingForReader = () =>
  world.sql<{ pid: number }>(
    `SELECT pid FROM pg_stat_activity
      WHERE state = 'idle in transaction' AND query LIKE 'FETCH 1 %' AND datname = current_database()`,
  );

test('pictures are read one by one: Postgres puts no copy of all of them aside first', async () => {
  const response = await begin();
  const [{ pid } = { pid: 0 }] = await until('the app waits for the reader', async () => {
    const found = await waitingForReader();
    return found.length > 0 && found;
  });

  const asideBytes = await world.sql(`SELECT name, size FROM pg_ls_tmpdir() WHERE name LIKE $1`, [`pgsql_tmp${pid}.%`]);

  expect(JSON.parse(await text(response))).toMatchObject({ snapshots: { length: PICTURES } });
  expect(asideBytes).toEqual([]);
});

test('one person’s downloads, however many and slow, leave room for somebody else’s', async () => {
  const neighbour = await signedIn(world);
  const responses = await Promise.all(Array.from({ length: MOST_AT_ONCE }, begin));

  const { status } = await neighbour.open('/account/data');

  for (const response of responses) response.destroy();
  expect(status).toBe(200);
});
