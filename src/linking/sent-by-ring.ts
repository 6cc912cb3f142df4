import type { Request } from 'express';
import type { Core } from '../core.js';
import { networkOf } from '../http/networks.js';
import type { IsWelcome, RateLimits } from '../http/rate-limits.js';
import type { NonceMatcher } from './match.js';
import { readPendingRedirect } from './pending-redirect.js';
import { freshness, parseRedirect } from './redirect.js';

export interface SentByRingDependencies extends Pick<Core, 'vault' | 'clock' | 'linkClockSkewSeconds'> {
  limits: Pick<RateLimits, 'redirectLook' | 'redirectLooks' | 'sentByRing'>;
  matchNonce: NonceMatcher;
}

/**
 * Whether Ring has sent a visitor: the redirect that they come with, or came with, is signed for an account in the pool. Many
 * such people behind one carrier's address are no flood, and what Ring gave them lives ten minutes.
 *
 * It is asked for those alone whom a limit would turn away, and says yes or no to that limit and nothing to the visitor. The
 * looks are bounded for each network and in all, so that they cost less than what the limit keeps away. Whoever has signed
 * redirects passes a limit as often as one network may, and no more: each counts for its Ring account.
 */
export function createSentByRing(dependencies: SentByRingDependencies): IsWelcome {
  const { vault, clock, linkClockSkewSeconds, limits, matchNonce } = dependencies;
  return async (request: Request) => {
    const redirect = parseRedirect(request.query) ?? readPendingRedirect(vault, request);
    if (redirect === undefined || freshness(redirect, clock(), linkClockSkewSeconds) !== 'fresh') return false;
    const mayLook = (await limits.redirectLook.take(networkOf(request.ip))) && (await limits.redirectLooks.take('all'));
    if (!mayLook) return false;
    const accountId = await matchNonce(redirect);
    return accountId !== undefined && limits.sentByRing.take(accountId);
  };
}
