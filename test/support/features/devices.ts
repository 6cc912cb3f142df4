import type { Tables } from '../../../src/database/tables.js';
import { hiddenFields, type Visitor } from '../clients/visitor.js';
import { until } from '../waiting/until.js';
import type { NewRingUser, RingUser } from '../worlds/ring.js';
import { linked, type Outside } from './linking.js';

type NewDevice = NonNullable<NewRingUser['devices']>[number];

/** A signed-in user who shares a device with the app. */
export interface Owner {
  visitor: Visitor;
  ringUser: RingUser;
  userId: string;
  device: { id: string; name: string };
  /** The path of the device's page. */
  path: string;
  /** The token of the visitor's session. */
  csrfToken: string;
}

/** A new user with a new Ring account that has this device, after the app has fetched it from Ring. */
export async function sharing(world: Outside, wish: Partial<NewDevice> = {}): Promise<Owner> {
  const user = await world.ring.createUser({ devices: [{ name: 'Front Door', ...wish }] });
  const { visitor, ringUser } = await linked(world, user);
  const [device] = user.devices;
  if (device === undefined) throw new Error('the simulator made no device');
  await until('the app knows the device', async () => {
    const known = await world.sql(
      'SELECT 1 FROM devices WHERE account_id = $1 AND id = $2 AND fetched_at IS NOT NULL',
      [ringUser.account_id, device.id],
    );
    return known.length > 0;
  });
  const [link] = await world.sql<Pick<Tables['account_links'], 'user_id'>>(
    'SELECT user_id FROM account_links WHERE account_id = $1',
    [ringUser.account_id],
  );
  const path = `/devices/${encodeURIComponent(device.id)}`;
  await visitor.open(path);
  const { _csrf: csrfToken = '' } = hiddenFields(visitor.page.text, '/sign-out');
  return { visitor, ringUser, userId: link?.user_id ?? '', device, path, csrfToken };
}

/** The device records something that begins now. Ring has no picture of it before. */
export async function recordNow(
  { ring }: Pick<Outside, 'ring'>,
  { ringUser, device }: Pick<Owner, 'ringUser' | 'device'>,
): Promise<void> {
  await ring.record({ user_id: ringUser.id, device_id: device.id });
}
