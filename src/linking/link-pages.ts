import type { KeyObject } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type Request, type Response, Router } from 'express';
import type { FormError } from '../users/routes.js';
import { newSession, saveSession } from '../users/session.js';
import { z } from 'zod';
import type { Database } from '../database/database.js';
import { csrfProtection, csrfToken } from '../users/csrf.js';
import { HttpError, methodNotAllowed } from '../http/errors.js';
import { limitAddress, type RateLimits } from '../http/rate-limits.js';
import { render } from '../http/render.js';
import { seeOther } from '../http/see-other.js';
import { accountDeleted, claim, type Claimant, type ClaimResult, wasRemovedLately } from './claim.js';
import { freshness, type Freshness, type LinkRequest, nonceDigest, parseLinkRequest } from './redirect.js';
import { findLink, type Link, newestLinkOfUser } from '../ring-accounts/links.js';
import type { MatchReport } from './match.js';
import { OUTCOME_PAGES, type Outcome, outcomeOfLink, type OutcomeView } from './outcomes.js';
import { dropPendingLink, keepPendingLink, readPendingLink } from './pending-link.js';
import type { Core } from '../core.js';

declare module '../http/render.js' {
  interface Views {
    'link-sign-in': { title: string; csrfToken: string; pendingId: string; email: string; error: FormError | null };
    'link-confirm': { title: string; csrfToken: string; pendingId: string; userEmail: string };
    'link-outcome': { title: string; outcome: OutcomeView; csrfToken: string | null };
  }
}

export interface LinkPagesDependencies extends Pick<Core, 'vault' | 'clock' | 'log' | 'linkClockSkewSeconds'> {
  database: Database;
  hmacKey: KeyObject;
  limits: RateLimits;
  /** How long a page waits for Ring, in ms: once for the pair to arrive, once for the link to be confirmed. */
  patienceMs: number;
  /** Then nobody is kept waiting. */
  isShuttingDown: () => boolean;
  /** Hears how each attempt to link has ended, once for all its tries. */
  onClaimed: (result: PatientResult['kind']) => void;
  onMatched: (report: MatchReport) => void;
}

export interface LinkPages {
  router: Router;
  /** Links for the user who has just signed in on the link page, and answers with the outcome. */
  link: (request: Request, response: Response) => Promise<void>;
  /** The link page for someone who is not signed in. */
  showSignIn: (request: Request, response: Response, email?: string, error?: FormError) => Promise<void>;
}

/** What the form carries of the page that it stood on. */
const Shown = z.object({ link: z.string().optional().catch('') });

/** Tells one pending link from another on a page, where the nonce itself must not stand. */
const pageId = (link: LinkRequest): string => nonceDigest(link.nonce).toString('base64url');

const PAIR_POLL_MS = 1_000;
const CONFIRMATION_POLL_MS = 100;

/** The Account Link URL: from Ring's redirect to the outcome. */
export function createLinkPages(dependencies: LinkPagesDependencies): LinkPages {
  const { database, vault, clock, log, limits, linkClockSkewSeconds } = dependencies;

  async function show(request: Request, response: Response, outcome: Outcome): Promise<void> {
    const { status, switchAccount, ...view } = OUTCOME_PAGES[outcome];
    const canSwitch = switchAccount && request.user !== undefined;
    response.status(status);
    render(response, 'link-outcome', {
      title: view.heading,
      outcome: view,
      csrfToken: canSwitch ? await csrfToken(request) : null,
    });
  }

  /** Ring's redirect: what it carries goes into the session, and out of the address bar. */
  async function receive(request: Request, response: Response): Promise<void> {
    const link = parseLinkRequest(request.query);
    const outcome = link === undefined ? 'malformed' : turnedAway(link);
    if (link === undefined || outcome !== undefined) {
      await show(request, response, outcome ?? 'malformed');
      return;
    }
    // Under a new id: someone else may know the one that this browser came with.
    if (request.user === undefined) await newSession(request);
    keepPendingLink(vault, request, link);
    await saveSession(request);
    seeOther(response, '/ring/link');
  }

  /** Why a link that is no longer or not yet fresh is not made. */
  function turnedAway(link: LinkRequest): Outcome | undefined {
    const age = freshness(link, clock, linkClockSkewSeconds);
    if (age === 'fresh') return undefined;
    dependencies.onClaimed(age);
    log.warn({ outcome: age }, 'a link is turned away; if this happens to everyone, check the clock of this machine');
    return age;
  }

  function logUnmatched({ kind }: PatientResult): void {
    if (kind === 'app-removed') {
      log.warn(
        { outcome: kind },
        'no token pair in the pool fits the nonce: its user has removed the app in the Ring app',
      );
    } else if (kind === 'no-match') {
      log.warn(
        { outcome: kind },
        'no token pair in the pool fits the nonce; if this happens to everyone, check RING_HMAC_KEY',
      );
    }
  }

  /** The link that this browser came for, if it is still fresh: its page may have been open for a while. */
  async function pendingLinkOrAnswer(request: Request, response: Response): Promise<LinkRequest | undefined> {
    const pending = readPendingLink(vault, request);
    if (pending === undefined) {
      await showNewestLink(request, response);
      return undefined;
    }
    const stale = turnedAway(pending);
    if (stale === undefined) return pending;
    dropPendingLink(request);
    await show(request, response, stale);
    return undefined;
  }

  /** Nothing is pending in this browser: after a reload, that is because the link was made. */
  async function showNewestLink(request: Request, response: Response): Promise<void> {
    const newest = request.user && (await newestLinkOfUser(database.knex, request.user.id));
    await show(request, response, newest === undefined ? 'nothing-to-link' : outcomeOfLink(newest));
  }

  async function showSignIn(
    request: Request,
    response: Response,
    email = '',
    error: FormError | null = null,
  ): Promise<void> {
    render(response, 'link-sign-in', {
      title: 'Link your Ring account',
      csrfToken: await csrfToken(request),
      pendingId: pendingId(request),
      email,
      error,
    });
  }

  /** What the page's forms carry of the link that the page was shown for. */
  function pendingId(request: Request): string {
    const pending = readPendingLink(vault, request);
    return pending === undefined ? '' : pageId(pending);
  }

  async function showConfirm(request: Request, response: Response, user: Express.User): Promise<void> {
    render(response, 'link-confirm', {
      title: 'Link your Ring account',
      csrfToken: await csrfToken(request),
      pendingId: pendingId(request),
      userEmail: user.email,
    });
  }

  async function link(request: Request, response: Response): Promise<void> {
    if (request.user === undefined) throw new HttpError(401, 'Sign in first.');
    const pending = await pendingLinkOrAnswer(request, response);
    if (pending === undefined) return;
    // Another tab, or another site, may have brought another link since this page was shown.
    const { link: shown } = Shown.parse(request.body);
    if (shown !== undefined && shown !== pageId(pending)) {
      seeOther(response, '/ring/link');
      return;
    }
    await limits.linkAttempt.consume(request.user.id);
    const result = await claimPatiently(dependencies, { userId: request.user.id }, pending);
    dependencies.onClaimed(result.kind);
    logUnmatched(result);
    if (!canBeTriedAgain(result)) {
      dropPendingLink(request);
      // Now, and not after the next wait: it would overwrite what another tab did meanwhile, a sign-out included.
      await saveSession(request);
    }
    const outcome = await outcomeOfClaim(dependencies, result);
    // The same is told there, of the user's newest link, and can be loaded again: this answer to a form can not.
    if (result.kind === 'claimed' || result.kind === 'resumed') seeOther(response, '/ring/link');
    else await show(request, response, outcome);
  }

  const router = Router();
  const route = router.route('/ring/link');
  route.get(limitAddress(limits.visit), async (request, response) => {
    if (request.query.nonce !== undefined || request.query.time !== undefined) {
      await receive(request, response);
      return;
    }
    const pending = await pendingLinkOrAnswer(request, response);
    if (pending === undefined) return;
    if (request.user === undefined) await showSignIn(request, response);
    else await showConfirm(request, response, request.user);
  });
  // Who has signed out meanwhile, in another tab, has no token any more, and signs in there.
  route.post(
    (request, response, next) => {
      if (request.user === undefined) seeOther(response, '/ring/link');
      else next();
    },
    csrfProtection,
    link,
  );
  route.all(methodNotAllowed('GET', 'HEAD', 'POST'));

  return { router, link, showSignIn };
}

/** `app-removed`: nothing fits, and Ring has lately told us that the user removed the app. */
export type PatientResult = ClaimResult | { kind: Exclude<Freshness, 'fresh'> | 'app-removed' };

/** Ring's callback can be slower than the browser, so a pair that is missing is waited for while the request is fresh. */
async function claimPatiently(
  dependencies: LinkPagesDependencies,
  claimant: Claimant,
  request: LinkRequest,
): Promise<PatientResult> {
  const { clock, linkClockSkewSeconds, patienceMs, isShuttingDown } = dependencies;
  const giveUpAt = performance.now() + patienceMs;
  for (;;) {
    const age = freshness(request, clock, linkClockSkewSeconds);
    if (age !== 'fresh') return { kind: age };
    const result = await claim(dependencies, claimant, request);
    const mayStillArrive = result.kind === 'no-match' || result.kind === 'not-renewed';
    if (!mayStillArrive) return result;
    if (performance.now() > giveUpAt) {
      const isRemoved = result.kind === 'no-match' && (await wasRemovedLately(dependencies, request));
      return isRemoved ? { kind: 'app-removed' } : result;
    }
    if (isShuttingDown()) throw new HttpError(503, 'The service is being restarted.', { retryAfterSeconds: 5 });
    await delay(PAIR_POLL_MS);
  }
}

/** With another attempt, or from another account. */
function canBeTriedAgain({ kind }: PatientResult): boolean {
  return kind === 'no-match' || kind === 'app-removed' || kind === 'linked-by-someone-else';
}

async function outcomeOfClaim(dependencies: LinkPagesDependencies, result: PatientResult): Promise<Outcome> {
  switch (result.kind) {
    case 'claimed':
    case 'resumed':
      return outcomeOfLink(await waitForConfirmation(dependencies, result.linkId));
    case 'made-already':
    case 'not-renewed': {
      const outcome = outcomeOfLink(await waitForConfirmation(dependencies, result.linkId));
      return outcome === 'linked' ? 'already-linked' : outcome;
    }
    case 'linked-by-someone-else':
    case 'no-match':
    case 'app-removed':
    case 'expired':
    case 'from-the-future':
      return result.kind;
  }
}

/** The job of the claim does the work, here or on another instance; this only watches, for as long as a user would. */
async function waitForConfirmation(
  { database, patienceMs, isShuttingDown }: LinkPagesDependencies,
  linkId: string,
): Promise<Link> {
  const giveUpAt = performance.now() + patienceMs;
  for (;;) {
    const link = await findLink(database.knex, linkId);
    if (link === undefined) throw accountDeleted();
    if (link.status !== 'CONFIRMING' || performance.now() > giveUpAt || isShuttingDown()) return link;
    await delay(CONFIRMATION_POLL_MS);
  }
}
