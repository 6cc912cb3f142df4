import { randomUUID } from 'node:crypto';
import type { Tables } from '../../../src/database/tables.js';
import { hiddenFields, type Visitor } from '../clients/visitor.js';
import type { World } from '../worlds/world.js';
import type { Owner } from './devices.js';
import { untilIdle, untilProcessed } from './inbox.js';
import { linked, PASSWORD } from './linking.js';
import { openLiveView } from './live-views.js';

/** A user with data of every kind that we can hold. */
export interface Resident extends Owner {
  email: string;
  /** A device that was removed, and has left a row in the archive. */
  removedDevice: { id: string; name: string };
  picture: Buffer;
}

/** A linked user with a device, its events, pictures, schedule and live view, a removed device and a subscription. */
export async function newResident(world: World): Promise<Resident> {
  const names = ['Front Door', 'Garage'].map((name) => `${name} ${randomUUID()}`);
  const location = { country: 'DE', state: `State ${randomUUID()}` };
  const devices = names.map((name) => ({ id: `device-${randomUUID()}`, name, location }));
  const { visitor, ringUser, email } = await linked(world, await world.ring.createUser({ devices }));
  await untilIdle(world);
  const [device, removedDevice] = ringUser.devices;
  const [link] = await world.sql<Pick<Tables['account_links'], 'id' | 'user_id'>>(
    'SELECT id, user_id FROM account_links WHERE account_id = $1',
    [ringUser.account_id],
  );
  if (device === undefined || removedDevice === undefined || link === undefined) throw new Error('nothing is linked');

  world.clock.advance(1);
  const events = [
    { type: 'motion_detected', sub_type: 'human' },
    { type: 'button_press' },
    { type: 'subscription_activated' },
    { type: 'something_new' },
    { type: 'device_removed', device_id: removedDevice.id },
  ];
  for (const event of events) await world.ring.sendEvent({ user_id: ringUser.id, ...event });
  await untilProcessed(world, ringUser);

  const path = `/devices/${encodeURIComponent(device.id)}`;
  await visitor.open(path);
  const { _csrf: csrfToken = '' } = hiddenFields(visitor.page.text, '/sign-out');
  await visitor.post(`${path}/scheduled-operations`, { _csrf: csrfToken, frequency: 'HOURLY' });
  const picture = Buffer.from(`picture ${randomUUID()}`);
  await world.sql(
    `INSERT INTO snapshots (id, account_id, device_id, taken_at, content_type, picture)
     VALUES (gen_random_uuid(), $1, $2, now(), 'image/png', $3)`,
    [ringUser.account_id, device.id, picture],
  );
  await world.sql(
    `INSERT INTO picture_requests (id, account_id, device_id, is_automatic, status, outcome, picture_id, asked_at)
     SELECT gen_random_uuid(), account_id, device_id, false, 'ENDED', 'taken', id, now() FROM snapshots
      WHERE account_id = $1`,
    [ringUser.account_id],
  );
  const owner = { visitor, ringUser, userId: link.user_id, device, path, csrfToken };
  const { status } = await openLiveView(world.url, owner);
  if (status !== 201) throw new Error(`the live view is answered ${status}`);
  await untilIdle(world);
  return { ...owner, email, removedDevice, picture };
}

/** A browser in which the user is signed in. */
export async function signIn(world: Pick<World, 'visitor'>, email: string, password = PASSWORD): Promise<Visitor> {
  const visitor = world.visitor();
  await visitor.open('/ring/home');
  await visitor.submit('/sign-in', { email, password });
  return visitor;
}

/** True if the browser's session belongs to a user. */
export async function isSignedIn(visitor: Visitor): Promise<boolean> {
  await visitor.open('/account');
  return visitor.heading === 'Your account';
}

/** Fills in one of the forms of the account page. */
export async function submitAccountForm(
  visitor: Visitor,
  form: 'email' | 'password' | 'delete',
  fields: { new?: string; confirmation?: string; current?: string },
): Promise<void> {
  await visitor.open('/account');
  await visitor.submit(`/account/${form}`, { current: PASSWORD, ...fields });
}

export const deleteAccount = (visitor: Visitor): Promise<void> =>
  submitAccountForm(visitor, 'delete', { confirmation: 'DELETE' });
