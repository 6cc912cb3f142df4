import type { Page } from 'playwright-core';
import { visitAs } from '../../support/clients/browser.js';
import type { Visitor } from '../../support/clients/visitor.js';
import { sharing } from '../../support/features/devices.js';
import { untilProcessed } from '../../support/features/inbox.js';
import { arriving, installed, untilLink } from '../../support/features/linking.js';
import type { RingUser } from '../../support/worlds/ring.js';
import type { World } from '../../support/worlds/world.js';
import { change, CONFIRMING, eventful, household, inDays, removeApp } from './people.js';
import type { Stage } from './stage.js';
import type { State } from './state.js';
import { visitUncovered } from './uncovered.js';

const visitHome = (page: Page, visitor: Visitor) => visitAs(page, visitor, '/ring/home');
const homeWith =
  (assignment: string, devices?: { name: string }[]): State['visit'] =>
  async (page, stage: Stage) =>
    visitHome(page, await stage.linkedWith(assignment, devices));

async function subscribed(
  world: World,
  { account_id, devices }: RingUser,
  kinds: [type: string, status: string, until: Date][],
): Promise<void> {
  for (const [type, status, expiresAt] of kinds) {
    await world.sql(
      `INSERT INTO subscriptions (account_id, id, sub_type, status, expires_at, device_ids, fetched_at)
       VALUES ($1, gen_random_uuid(), $2, $3, $4, $5, now())`,
      [account_id, type, status, expiresAt, devices.slice(0, 2).map(({ id }) => id)],
    );
  }
}

const STATES: State[] = [
  {
    name: 'home-no-link',
    example: 'home',
    says: 'Open the Ring app',
    visit: async (page, stage) => visitHome(page, await stage.newcomer()),
  },
  {
    name: 'home-sensor',
    says: 'Open as of',
    async visit(page, { world }) {
      const capabilities = { contact_detection: {}, tamper_detection: {} };
      const owner = await sharing(world, { name: 'Back Door', capabilities, faulted: ['contact_detection'] });
      await untilProcessed(world, owner.ringUser);
      await visitHome(page, owner.visitor);
    },
  },
  { name: 'home-confirming', visit: homeWith(`${CONFIRMING}, last_error = NULL`) },
  { name: 'home-ring-unreachable', visit: homeWith(`${CONFIRMING}, last_error = 'unavailable'`) },
  {
    name: 'home-sign-in-again',
    says: 'tap Sign In',
    visit: homeWith(`${CONFIRMING}, last_error = 'nonce too old'`),
  },
  {
    name: 'home-no-devices',
    says: 'choose them in the Ring app',
    visit: homeWith(`status = 'COMPLETED'`, []),
  },
  {
    name: 'home-devices-unknown',
    says: /Ring (isn’t|is not) answering|(can’t|could not|couldn’t) reach Ring|without success/,
    async visit(page, { world }) {
      const { visitor, ringUser } = await sharing(world);
      await untilProcessed(world, ringUser);
      await change(
        world,
        ringUser,
        `name = NULL, online = NULL, online_at = NULL, fetched_at = NULL, fetch_error = 'unavailable'`,
      );
      await visitHome(page, visitor);
    },
  },
  { name: 'home-refused', says: 'add it again', visit: homeWith(`status = 'REFUSED'`) },
  {
    name: 'home-needs-relinking',
    example: 'home',
    says: 'add it again',
    visit: homeWith(`status = 'REAUTH_REQUIRED'`),
  },
  {
    name: 'home-link-removed',
    says: 'add it from the Ring Appstore',
    async visit(page, { world }) {
      const { visitor, ringUser } = await sharing(world);
      await removeApp(world, ringUser);
      await visitHome(page, visitor);
    },
  },
  {
    name: 'home-full',
    says: 'Paid subscription',
    example: 'home',
    async visit(page, { world }) {
      const { visitor, ringUser } = await eventful(world, await household(world));
      await subscribed(world, ringUser, [
        ['paid', 'active', inDays(world, 300)],
        ['trial', 'active', inDays(world, 12)],
        ['paid', 'inactive', inDays(world, -3)],
      ]);
      await visitHome(page, visitor);
    },
  },
  {
    name: 'home-uncovered',
    says: 'You get or renew one in the Ring app',
    visit: (page) => visitUncovered(page, 'home'),
  },
  {
    name: 'home-device-removed',
    says: 'Removed in the Ring app',
    async visit(page, { world }) {
      const { visitor, ringUser, device } = await sharing(world);
      world.clock.advance(1);
      await world.ring.sendEvent({ user_id: ringUser.id, type: 'device_removed', device_id: device.id });
      await untilProcessed(world, ringUser);
      await visitHome(page, visitor);
    },
  },
  {
    name: 'home-several-accounts',
    async visit(page, { world }) {
      const { visitor } = await eventful(world, await sharing(world));
      for (const name of ['Garage', 'Holiday home']) {
        const ringUser = await installed(world, await world.ring.createUser({ devices: [{ name }] }));
        await arriving(world, ringUser, visitor);
        await visitor.submit('/ring/link');
        await untilLink(world, ringUser, 'COMPLETED');
        await untilProcessed(world, ringUser);
        if (name === 'Holiday home') await removeApp(world, ringUser);
      }
      await visitHome(page, visitor);
    },
  },
];

export const HOMES: State[] = STATES.map((state) => ({ title: 'Home', ...state }));
