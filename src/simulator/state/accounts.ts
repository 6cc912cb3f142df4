import { randomBytes } from 'node:crypto';
import { BoundedMap } from './bounded-map.js';
import type { Device } from './devices.js';
import type { Subscription } from './subscriptions.js';

/** A nonce is good for 600 s after the redirect that carried it. */
const NONCE_LIFETIME_MS = 600_000;

/** Each account keeps this many nonces. When there are more, its oldest is dropped. */
const NONCES_KEPT = 1_000;

/** A simulator is for one machine: more users than this mean that a script runs away. */
const MOST_USERS = 100_000;

/** The attributes that `GET /v1/users/me` answers for a user. Any may be missing. */
export interface UserAttributes {
  first_name?: string | undefined;
  last_name?: string | undefined;
  email?: string | undefined;
  phone_number?: string | undefined;
}

export type IntegrationStatus = 'pending' | 'awaiting' | 'completed';

/** One installation of the app by one user. An app that is removed and added again has a new one. */
export interface Integration {
  status: IntegrationStatus;
  account_identifier: string | null;
  device_ids: string[];
  /** The time of the user's consent, epoch ms. The app sees nothing that was recorded before. */
  consented_at: number;
  /** Whether the codes and tokens of this installation still open anything. */
  tokens: 'good' | 'revoked';
}

export interface RingUser {
  id: string;
  account_id: string;
  attributes: UserAttributes;
  devices: Device[];
  integration: Integration | null;
  /** Everything that the user bought from the app, over all its installations, oldest first. */
  subscriptions: Subscription[];
  /** Nonces that were handed out and are not used yet, with the epoch ms at which each was made. */
  nonces: BoundedMap<string, number>;
}

export interface NewUser {
  id?: string | undefined;
  account_id?: string | undefined;
  attributes: UserAttributes;
  devices: Device[];
}

export type AddedUser = { kind: 'added'; user: RingUser } | { kind: 'refused'; reason: string };

/** The people with a Ring account, with what they installed and the nonces that their browsers carry. */
export class Accounts {
  readonly #users = new Map<string, RingUser>();
  readonly #accountIds = new Set<string>();

  constructor(users: readonly NewUser[]) {
    for (const user of users) this.add(user);
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
      subscriptions: [],
      nonces: new BoundedMap(NONCES_KEPT),
    };
    this.#users.set(id, user);
    this.#accountIds.add(accountId);
    return { kind: 'added', user };
  }
}

/**
 * Adds the app to the user's account. An earlier installation is replaced.
 *
 * @param now epoch ms
 */
export function addIntegration(user: RingUser, deviceIds: string[], now: number): Integration {
  const integration: Integration = {
    status: 'pending',
    account_identifier: null,
    device_ids: deviceIds,
    consented_at: now,
    tokens: 'good',
  };
  user.integration = integration;
  return integration;
}

/**
 * Removes the app from the user's account.
 *
 * @param tokens `revoked`: as at Ring. `good`: the tokens work, but belong to no integration, which Ring answers with
 * 404
 */
export function removeIntegration(user: RingUser, tokens: Integration['tokens']): void {
  if (user.integration === null) return;
  user.integration.tokens = tokens;
  user.integration = null;
}

/** True if the nonce was made for this user within the last 600 s and has not been used. */
export function isNonceGood(user: RingUser, nonce: string, now: number): boolean {
  const madeAt = user.nonces.get(nonce);
  return madeAt !== undefined && now - madeAt <= NONCE_LIFETIME_MS;
}

/**
 * The devices that the user shares with the app; none if the app is not installed. A device with end-to-end encryption
 * is never listed.
 */
export function sharedDevices(user: RingUser): Device[] {
  return user.devices.filter(
    ({ id, encryption }) => encryption !== 'end-to-end' && user.integration?.device_ids.includes(id),
  );
}

/** The name of a user on pages and in the log. All attributes may be missing. */
export function displayName(user: RingUser): string {
  const { first_name, last_name } = user.attributes;
  const name = [first_name, last_name].filter((part) => part !== undefined).join(' ');
  return name === '' ? 'Ring user without a name' : name;
}
