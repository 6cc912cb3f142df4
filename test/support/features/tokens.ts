import { randomBytes, randomUUID } from 'node:crypto';
import { readConfig } from '../../../src/configuration/config.js';
import type { Tables } from '../../../src/database/tables.js';
import { sealPair } from '../../../src/tokens/token-pairs.js';
import { createVault } from '../../../src/tokens/vault.js';
import type { Fault, RingRequest, RingUser } from '../worlds/ring.js';
import type { World } from '../worlds/world.js';

export const MINUTE = 60;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
/** The lifetime of Ring's access tokens in seconds. */
export const ACCESS_LIFETIME = 4 * HOUR;

export type TokenRow = Tables['ring_tokens'];

/** The pair of the newest link of a Ring user. */
export async function tokenOf(world: Pick<World, 'sql'>, { account_id }: RingUser): Promise<TokenRow> {
  const [token] = await world.sql<TokenRow>(
    `SELECT token.* FROM account_links link JOIN ring_tokens token ON token.id = link.token_id
      WHERE link.account_id = $1 ORDER BY link.created_at DESC LIMIT 1`,
    [account_id],
  );
  if (token === undefined) throw new Error('this user has no link');
  return token;
}

/** The number of requests to Ring to refresh a user's pair, with their results. */
export async function refreshesOf(world: Pick<World, 'ring'>, { account_id }: RingUser): Promise<RingRequest[]> {
  const requests = await world.ring.requests();
  return requests.filter((one) => one.grant_type === 'refresh_token' && one.account_id === account_id);
}

/** The calls to Ring's API for a user, without tokens. */
export async function apiCallsOf(world: Pick<World, 'ring'>, { account_id }: RingUser): Promise<RingRequest[]> {
  const requests = await world.ring.requests();
  return requests.filter((one) => one.account_id === account_id && one.path.startsWith('/v1/'));
}

/** Answers of Ring that are not as they should be. */
export const WRONG_BODIES: readonly [what: string, fault: Fault['fault']][] = [
  ['a page', wrongBody('<!doctype html><title>Maintenance</title>', 'text/html')],
  ['truncated JSON', wrongBody('{"access_token":"sim-at-cut-off","refresh_token":"sim-rt-cut')],
  ['nothing', wrongBody('')],
  ['JSON without what is asked for', wrongBody('{"data":{}}')],
  [
    'JSON without the access token',
    wrongBody('{"refresh_token":"sim-rt-alone","expires_in":14400,"token_type":"Bearer"}'),
  ],
  [
    'JSON of other types',
    wrongBody('{"access_token":["sim-at-x"],"refresh_token":7,"expires_in":"long","token_type":"Bearer","data":7}'),
  ],
  [
    'a body of 10 MB',
    { kind: 'large-body', status: 200, contentType: 'application/json', sizeBytes: 10_000_000, announced: false },
  ],
];

function wrongBody(body: string, contentType = 'application/json'): Fault['fault'] {
  return { kind: 'body', status: 200, contentType, body };
}

/** Links of one user that are inserted directly: real pairs of Ring's, sealed and stored as the app stores them. */
export async function manyLinks(
  world: Pick<World, 'ring' | 'sql' | 'environment'> & { clock: Pick<World['clock'], 'now'> },
  count: number,
): Promise<RingUser[]> {
  const config = readConfig(world.environment);
  const vault = createVault(config.encryptionKeys);
  const now = world.clock.now();
  const [user] = await world.sql<Pick<Tables['users'], 'id'>>(
    `INSERT INTO users (email, password_hash, created_at) VALUES ($1, 'none', $2) RETURNING id`,
    [`many.${randomUUID()}@example.com`, now],
  );
  const ringUsers: RingUser[] = [];
  for (let made = 0; made < count; made++) {
    const ringUser = await world.ring.createUser({ devices: [] });
    const { code } = await world.ring.issueCode(ringUser);
    const response = await fetch(`${config.ring.oauthUrl}/oauth/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: 'authorization_code',
        code,
        client_id: config.ring.clientId,
        client_secret: config.ring.clientSecret,
      }),
    });
    const granted = (await response.json()) as { access_token: string; refresh_token: string };
    const id = randomUUID();
    const sealed = sealPair(vault, id, {
      accessToken: granted.access_token,
      refreshToken: granted.refresh_token,
      scope: '',
      expiresIn: ACCESS_LIFETIME,
    });
    await world.sql(
      `INSERT INTO ring_tokens (id, status, account_id, key_id, access_token_ciphertext, refresh_token_ciphertext, scope,
                                access_token_expires_at, created_at)
       VALUES ($1, 'CLAIMED', $2, $3, $4, $5, '', $6::timestamptz + interval '4 hours', $6)`,
      [id, ringUser.account_id, sealed.key_id, sealed.access_token_ciphertext, sealed.refresh_token_ciphertext, now],
    );
    await world.sql(
      `INSERT INTO account_links (id, user_id, account_id, token_id, status, account_identifier, nonce_digest, created_at,
                                  updated_at)
       VALUES (gen_random_uuid(), $1, $2, $3, 'COMPLETED', 'm***y@example.com', $5, $4, $4)`,
      [user?.id, ringUser.account_id, id, now, randomBytes(32)],
    );
    ringUsers.push(ringUser);
  }
  return ringUsers;
}
