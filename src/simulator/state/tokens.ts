import { randomBytes } from 'node:crypto';
import type { Integration, RingUser } from './accounts.js';
import { BoundedMap } from './bounded-map.js';

const CODE_LIFETIME_MS = 60_000;
const REFRESH_TOKEN_LIFETIME_MS = 30 * 24 * 60 * 60 * 1_000;

/** The value of `expires_in` in a token answer, in seconds. */
export const ACCESS_TOKEN_LIFETIME_S = 14_400;

/** The store keeps this many codes, and this many tokens of each kind. */
const SECRETS_KEPT = 100_000;

/** The user and installation that a code or token speaks for. */
export interface Grant {
  user: RingUser;
  integration: Integration;
}

export interface TokenPair {
  access_token: string;
  refresh_token: string;
}

interface Issued {
  grant: Grant;
  /** epoch ms */
  at: number;
}

/** A code or refresh token: good for one use. */
interface IssuedOnce extends Issued {
  use: 'unused' | 'used';
}

export type AccessCheck =
  | { kind: 'good'; grant: Grant }
  | { kind: 'unknown' }
  | { kind: 'expired' }
  | { kind: 'revoked' }
  | { kind: 'refresh-token' };

/** Every authorization code and token that this Ring has issued, dead ones included. */
export class TokenStore {
  readonly #codes = new BoundedMap<string, IssuedOnce>(SECRETS_KEPT);
  readonly #refreshTokens = new BoundedMap<string, IssuedOnce>(SECRETS_KEPT);
  readonly #accessTokens = new BoundedMap<string, Issued>(SECRETS_KEPT);
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  issueCode(grant: Grant): string {
    const code = secret('sim-code');
    this.#codes.set(code, { grant, at: this.#now(), use: 'unused' });
    return code;
  }

  /** Exchanges a code for a token pair. Undefined if the code is unknown, used, revoked or older than 60 s. */
  redeemCode(code: string): TokenPair | undefined {
    return this.#redeem(this.#codes.get(code), CODE_LIFETIME_MS);
  }

  /**
   * Exchanges a refresh token for a new pair, and invalidates it. Undefined if it is unknown, used, revoked or too old.
   */
  redeemRefreshToken(refreshToken: string): TokenPair | undefined {
    return this.#redeem(this.#refreshTokens.get(refreshToken), REFRESH_TOKEN_LIFETIME_MS);
  }

  /** Makes a new access token for a refresh token, which stays good. Undefined as for {@link redeemRefreshToken}. */
  renewAccessToken(refreshToken: string): string | undefined {
    const issued = this.#refreshTokens.get(refreshToken);
    return this.#isRedeemable(issued, REFRESH_TOKEN_LIFETIME_MS) ? this.#issueAccessToken(issued.grant) : undefined;
  }

  checkAccessToken(token: string): AccessCheck {
    if (this.#refreshTokens.has(token)) return { kind: 'refresh-token' };
    const issued = this.#accessTokens.get(token);
    if (issued === undefined) return { kind: 'unknown' };
    if (issued.grant.integration.tokens === 'revoked') return { kind: 'revoked' };
    if (this.#ageOf(issued) >= ACCESS_TOKEN_LIFETIME_S * 1_000) return { kind: 'expired' };
    return { kind: 'good', grant: issued.grant };
  }

  /** The account that a code or token of any kind was issued for, valid or not. Null if Ring never issued it. */
  accountOf(codeOrToken: string): string | null {
    const stores = [this.#codes, this.#refreshTokens, this.#accessTokens];
    const issued = stores.map((store) => store.get(codeOrToken)).find((found) => found !== undefined);
    return issued?.grant.user.account_id ?? null;
  }

  #redeem(issued: IssuedOnce | undefined, lifetimeMs: number): TokenPair | undefined {
    if (!this.#isRedeemable(issued, lifetimeMs)) return undefined;
    issued.use = 'used';
    return this.#issuePair(issued.grant);
  }

  #isRedeemable(issued: IssuedOnce | undefined, lifetimeMs: number): issued is IssuedOnce {
    if (issued === undefined || issued.use === 'used' || issued.grant.integration.tokens === 'revoked') return false;
    return this.#ageOf(issued) < lifetimeMs;
  }

  #issuePair(grant: Grant): TokenPair {
    const refresh_token = secret('sim-rt');
    this.#refreshTokens.set(refresh_token, { grant, at: this.#now(), use: 'unused' });
    return { access_token: this.#issueAccessToken(grant), refresh_token };
  }

  #issueAccessToken(grant: Grant): string {
    const token = secret('sim-at');
    this.#accessTokens.set(token, { grant, at: this.#now() });
    return token;
  }

  #ageOf(issued: Issued): number {
    return this.#now() - issued.at;
  }
}

/** An opaque random value. Its prefix lets a search through logs or a database dump find it. */
function secret(prefix: string): string {
  return `${prefix}-${randomBytes(32).toString('base64url')}`;
}
