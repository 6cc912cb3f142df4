import type { Page } from 'playwright-core';
import { visitAs } from '../../support/clients/browser.js';
import { sharing } from '../../support/features/devices.js';
import { untilProcessed } from '../../support/features/inbox.js';
import { startWorld } from '../../support/worlds/world.js';

/** A page of a user whose subscription has ended, in an app that requires one. */
export async function visitUncovered(page: Page, which: 'device' | 'home'): Promise<void> {
  const world = await startWorld({ environment: { SUBSCRIPTION_REQUIRED: 'device' } });
  try {
    const owner = await sharing(world);
    const { ringUser, visitor, path, csrfToken } = owner;
    const tell = async (type: string): Promise<void> => {
      await world.ring.sendEvent({ user_id: ringUser.id, type });
      await untilProcessed(world, ringUser);
    };
    // A question that is still under way would put off the one that this leads to.
    await untilProcessed(world, ringUser);
    await tell('subscription_activated');
    await visitor.post(`${path}/scheduled-operations`, { _csrf: csrfToken, frequency: 'HOURLY' });
    await tell('subscription_deactivated');
    await visitAs(page, visitor, which === 'device' ? path : '/ring/home');
  } finally {
    await world.stop();
  }
}
