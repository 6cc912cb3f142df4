import { createHmac, randomUUID } from 'node:crypto';
import type { Tables } from '../../../src/database/tables.js';
import { send } from '../clients/http.js';
import type { Visitor } from '../clients/visitor.js';
import { until } from '../waiting/until.js';
import type { Fault, RingUser } from '../worlds/ring.js';
import { HMAC_KEY, type World } from '../worlds/world.js';

/** A world as seen from outside. Its app may run in this process or in others. */
export type Outside = Pick<World, 'ring' | 'sql' | 'visitor'>;

export const PASSWORD = 'correct horse battery staple';

export const newEmail = (name = 'visitor'): string => `${name}.${randomUUID()}@example.com`;

/** The nonce of a redirect by Ring's documentation: base64url(HMAC-SHA256(key, "<time>:<account id>")). */
export function nonceFor(time: string, accountId: string, key = HMAC_KEY): string {
  return createHmac('sha256', Buffer.from(key, 'utf8')).update(`${time}:${accountId}`, 'utf8').digest('base64url');
}

export const linkPath = (nonce: string, time: string): string =>
  `/ring/link?${new URLSearchParams({ nonce, time }).toString()}`;

/** A redirect of Ring's for this user, made just now. */
export async function redirectOf(world: Outside, ringUser: RingUser): Promise<{ nonce: string; time: string }> {
  const { url } = await world.ring.linkUrl(ringUser);
  const { nonce, time } = Object.fromEntries(new URL(url).searchParams);
  return { nonce: nonce ?? '', time: time ?? '' };
}

/** A Ring user who installed the app just now, with the pair in the pool. */
export async function installed(world: Outside, ringUser?: RingUser): Promise<RingUser> {
  const user = ringUser ?? (await world.ring.createUser());
  await world.ring.install(user);
  await until('the pair is in the pool', async () => (await pairsOf(world, user)).some(isUnclaimed));
  return user;
}

/** A user whom the Ring app has just redirected to the link page. */
export async function arriving(world: Outside, ringUser: RingUser, visitor = world.visitor()): Promise<Visitor> {
  const { url } = await world.ring.linkUrl(ringUser);
  await visitor.open(url);
  return visitor;
}

/** A user who is signed in with a new account, without a redirect. */
export async function signedIn(world: Outside, email = newEmail()): Promise<Visitor> {
  const visitor = world.visitor();
  await visitor.open('/ring/home');
  await visitor.submit('/sign-up', { email, password: PASSWORD });
  return visitor;
}

/** A user who has linked a Ring account. */
export async function linked(
  world: Outside,
  user?: RingUser,
): Promise<{ visitor: Visitor; ringUser: RingUser; email: string }> {
  const email = newEmail();
  const ringUser = await installed(world, user);
  const visitor = await arriving(world, ringUser);
  await visitor.submit('/sign-up', { email, password: PASSWORD });
  await untilLink(world, ringUser, 'COMPLETED');
  return { visitor, ringUser, email };
}

export type LinkRow = Tables['account_links'] & Pick<Tables['users'], 'email'>;

/** The links that the app made for a Ring user, with their users. */
export function linksOf(world: Outside, { account_id }: RingUser): Promise<LinkRow[]> {
  return world.sql<LinkRow>(
    `SELECT account_links.*, users.email FROM account_links JOIN users ON users.id = account_links.user_id
      WHERE account_id = $1`,
    [account_id],
  );
}

export function untilLink(world: Outside, ringUser: RingUser, status: string): Promise<LinkRow> {
  return until(`the link is ${status}`, async () =>
    (await linksOf(world, ringUser)).find((link) => link.status === status),
  );
}

export type PairRow = Tables['ring_tokens'];

/** The token pairs that are known to belong to a Ring user. */
export function pairsOf(world: Outside, { account_id }: RingUser): Promise<PairRow[]> {
  return world.sql<PairRow>('SELECT * FROM ring_tokens WHERE account_id = $1 ORDER BY created_at, claimed_at', [
    account_id,
  ]);
}

export async function pairStatuses(world: Outside, ringUser: RingUser): Promise<string[]> {
  return (await pairsOf(world, ringUser)).map(({ status }) => status);
}

export const isErased = (pair: PairRow | undefined): boolean =>
  pair?.key_id === null && pair.access_token_ciphertext === null && pair.refresh_token_ciphertext === null;

const isUnclaimed = ({ status }: PairRow): boolean => status === 'UNCLAIMED';

/** The calls to Ring about this user's integration, oldest first. */
export async function integrationCalls(world: Outside, { account_id }: RingUser) {
  const requests = await world.ring.requests();
  return requests.filter((one) => one.account_id === account_id && one.path === '/v1/accounts/me/app-integrations');
}

/** A fault of one call to one of Ring's endpoints. */
export function once(endpoint: Fault['endpoint'], fault: Fault['fault'], when: 'before' | 'after' = 'before'): Fault {
  return { endpoint, fault, when, times: 1 };
}

/** Ring sends a code to the callback, no matter what the simulator has sent so far. */
export async function deliverCode(world: World, code: string): Promise<number> {
  const { status } = await send(world.url, '/ring/token', { form: { code } });
  return status;
}

/** The home page's words about each of the visitor's links. */
export function cards(visitor: Visitor): string[] {
  return [...visitor.page.text.matchAll(/<li class="panel account">[\s\S]*?<h3>([^<]*)<\/h3>/g)].map(
    ([, status = '']) => status,
  );
}
