import { randomBytes } from 'node:crypto';

import { BoundedMap } from './bounded-map.js';

/** A nonce is good for 600 s after the redirect that carried it. */
const NONCE_LIFETIME_MS = 600_000;

/** More nonces than this, and the oldest of an account is forgotten. */
const NONCES_KEPT = 1_000;

/** A simulator is for one machine: beyond this many users something is running away. */
const MOST_USERS = 100_000;

export interface Device {
  id: string;
  name: string;
}

/** What `GET /v1/users/me` tells about a user. Any attribute may be missing. */
export interface UserAttributes {
  first_name?: string | undefined;
  last_name?: string | undefined;
  email?: string | undefined;
  phone_number?: string | undefined;
}

export type IntegrationStatus = 'pending' | 'awaiting' | 'completed';

/** One installation of the app by one user. Removing and adding again makes a new one. */
export interface Integration {
  status: IntegrationStatus;
  account_identifier: string | null;
  device_ids: string[];
  /** Whether the codes and tokens of this installation still open anything. */
  tokens: 'good' | 'revoked';
}

export interface RingUser {
  id: string;
  account_id: string;
  attributes: UserAttributes;
  devices: Device[];
  integration: Integration | null;
  /** Nonces handed out and not yet used, with the epoch ms they were made at. */
  nonces: BoundedMap<string, number>;
}

export interface NewUser {
  id?: string | undefined;
  account_id?: string | undefined;
  attributes: UserAttributes;
  devices: Device[];
}

export type AddedUser = { kind: 'added'; user: RingUser } | { kind: 'refused'; reason: string };

const RING_USERS: readonly NewUser[] = [
  {
    id: 'ada',
    account_id: 'ava1.ring.account.SIMULATED-ADA',
    attributes: {
      first_name: 'Ada',
      last_name: 'Marsh',
      email: 'ada.marsh@example.com',
      phone_number: '+1 555 0100',
    },
    devices: [
      { id: 'ada-front-door', name: 'Front Door' },
      { id: 'ada-driveway', name: 'Driveway' },
      { id: 'ada-back-garden', name: 'Back Garden' },
    ],
  },
  {
    id: 'zoe',
    account_id: 'ava1.ring.account.SIMULATED-ZOE',
    attributes: { first_name: 'Zoë', last_name: 'Ångström-Łęcka', email: 'zoë@example.org' },
    devices: [
      { id: 'zoe-haustuer', name: 'Haustür' },
      { id: 'zoe-jardin', name: 'Jardín del otoño' },
    ],
  },
  {
    id: 'sam',
    account_id: 'ava1.ring.account.SIMULATED-SAM',
    attributes: { first_name: 'Sam', last_name: 'Okafor', email: 'sam.okafor@example.net' },
    devices: [
      { id: 'sam-garage', name: 'Garage' },
      { id: 'sam-porch', name: 'Porch' },
    ],
  },
  {
    id: 'nameless',
    account_id: 'ava1.ring.account.SIMULATED-NAMELESS',
    attributes: {},
    devices: [
      { id: 'nameless-hall', name: 'Hall' },
      { id: 'nameless-stairs', name: 'Stairs' },
    ],
  },
];

/** The people who have a Ring account, what they installed, and the nonces they carry. */
export class Accounts {
  readonly #users = new Map<string, RingUser>();
  readonly #accountIds = new Set<string>();

  constructor() {
    for (const user of RING_USERS) this.add(user);
  }

  all(): RingUser[] {
    return [...this.#users.values()];
  }

  find(id: string): RingUser | undefined {
    return this.#users.get(id);
  }

  add(wanted: NewUser): AddedUser {
    const id = wanted.id ?? `user-${randomBytes(6).toString('hex')}`;
    const accountId = wanted.account_id ?? `ava1.ring.account.${randomBytes(16).toString('hex').toUpperCase()}`;
    if (this.#accountIds.has(accountId)) return { kind: 'refused', reason: 'another user has this account_id' };
    if (this.#users.size >= MOST_USERS) return { kind: 'refused', reason: `there are already ${MOST_USERS} users` };

    const user: RingUser = {
      id,
      account_id: accountId,
      attributes: wanted.attributes,
      devices: wanted.devices,
      integration: null,
      nonces: new BoundedMap(NONCES_KEPT),
    };
    this.#users.set(id, user);
    this.#accountIds.add(accountId);
    return { kind: 'added', user };
  }
}

/** Adds the app to the user's account. An earlier installation ends first, as if it had been removed. */
export function addIntegration(user: RingUser, deviceIds: string[]): Integration {
  removeIntegration(user, 'revoked');
  const integration: Integration = {
    status: 'pending',
    account_identifier: null,
    device_ids: deviceIds,
    tokens: 'good',
  };
  user.integration = integration;
  return integration;
}

/**
 * Removes the app from the user's account.
 *
 * @param tokens Ring revokes them; `good` leaves tokens that belong to no integration, which Ring answers with 404
 */
export function removeIntegration(user: RingUser, tokens: Integration['tokens']): void {
  if (user.integration === null) return;
  user.integration.tokens = tokens;
  user.integration = null;
}

/** Whether the nonce was made for this user within the last 600 s and has not been used. */
export function isNonceGood(user: RingUser, nonce: string, now: number): boolean {
  const madeAt = user.nonces.get(nonce);
  return madeAt !== undefined && now - madeAt <= NONCE_LIFETIME_MS;
}

/** How a page or a log names a user whose attributes may all be missing. */
export function displayName(user: RingUser): string {
  const { first_name, last_name } = user.attributes;
  const name = [first_name, last_name].filter((part) => part !== undefined).join(' ');
  return name === '' ? 'Ring user without a name' : name;
}
