import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Tables } from '../../src/database/tables.js';
import { scaled } from '../support/waiting/limits.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

let world: World;
beforeAll(async () => {
  world = await startWorld({ patienceMs: scaled(5_000) });
});
afterAll(() => world.stop());

const PASSWORD = 'correct horse battery staple';

describe('from the Ring app to a linked account', () => {
  test('a new user installs, creates an account on the link page, and is linked', async () => {
    const ringUser = await world.ring.createUser();
    const installation = await world.ring.install(ringUser);
    expect(installation.callback?.status).toBe(200);
    const { url } = await world.ring.linkUrl(ringUser);

    const visitor = world.visitor();
    await visitor.open(url);
    await visitor.submit('/sign-up', { email: 'new.user@example.com', password: PASSWORD });

    expect(visitor.page.status).toBe(200);
    expect(visitor.heading).toBe('Your Ring account is linked');
    expect(await world.ring.integrationOf(ringUser)).toMatchObject({
      status: 'completed',
      account_identifier: 'n***r@example.com',
    });
    const [link] = await until('the link is in the table', () =>
      world.sql<Pick<Tables['account_links'], 'status'>>('SELECT status FROM account_links WHERE account_id = $1', [
        ringUser.account_id,
      ]),
    );
    expect(link?.status).toBe('COMPLETED');
  });
});
