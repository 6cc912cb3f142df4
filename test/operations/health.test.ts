import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld();
  await until('the world is ready', async () => (await ask('/readyz')).status === 200);
});
afterAll(() => world.stop());

async function ask(path: string) {
  const response = await fetch(world.url + path);
  return { status: response.status, headers: response.headers, body: await response.json() };
}

test('/livez says that the process answers', async () => {
  const { status, headers, body } = await ask('/livez');
  expect(status).toBe(200);
  expect(headers.get('cache-control')).toBe('no-store');
  expect(headers.get('set-cookie')).toBeNull();
  expect(body).toEqual({ status: 'ok' });
});

test('/readyz says of each thing that is needed that it is there', async () => {
  const { status, headers, body } = await ask('/readyz');
  expect(status).toBe(200);
  expect(headers.get('cache-control')).toBe('no-store');
  expect(headers.get('set-cookie')).toBeNull();
  expect(body).toMatchObject({ status: 'ok', checks: { database: 'ok', migrations: 'ok', queue: 'ok' } });
});

describe('/readyz answers 503, and 200 again when it is over,', () => {
  test('while a migration has not run', async () => {
    const [newest] = await world.sql<{ id: number; name: string; batch: number; migration_time: Date }>(
      'DELETE FROM knex_migrations WHERE id = (SELECT max(id) FROM knex_migrations) RETURNING *',
    );
    expect(newest).toBeDefined();

    const pending = await ask('/readyz');
    await world.sql('INSERT INTO knex_migrations (id, name, batch, migration_time) VALUES ($1, $2, $3, $4)', [
      newest?.id,
      newest?.name,
      newest?.batch,
      newest?.migration_time,
    ]);

    expect(pending.status).toBe(503);
    expect(pending.body).toMatchObject({ checks: { database: 'ok', migrations: 'failed', queue: 'ok' } });
    expect((await ask('/readyz')).status).toBe(200);
  });

  test('while the job queue gives no sign of life', async () => {
    await world.sql('ALTER TABLE job_runners RENAME TO job_runners_gone');
    const dead = await until('the queue counts as dead', async () => {
      const answer = await ask('/readyz');
      return answer.status === 503 && answer;
    });
    await world.sql('ALTER TABLE job_runners_gone RENAME TO job_runners');

    expect(dead.body).toMatchObject({ checks: { database: 'ok', migrations: 'ok', queue: 'failed' } });
    expect((await ask('/livez')).status).toBe(200);
    await until('it is ready again', async () => (await ask('/readyz')).status === 200);
  });
});
