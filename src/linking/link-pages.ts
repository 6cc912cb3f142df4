import { setTimeout as delay } from 'node:timers/promises';
import { type Request, type Response, Router } from 'express';
import { z } from 'zod';
import type { Core } from '../core.js';
import { HttpError, methodNotAllowed } from '../http/errors.js';
import { type IsWelcome, limitCaller, type RateLimits } from '../http/rate-limits.js';
import { render } from '../http/render.js';
import { seeOther } from '../http/see-other.js';
import { findLink, type Link, newestLinkOfUser } from '../ring-accounts/links.js';
import { csrfProtection, csrfToken } from '../users/csrf.js';
import type { FormError } from '../users/routes.js';
import { newSession, saveSession } from '../users/session.js';
import { claim, type Claimant, type ClaimDependencies, type ClaimResult, wasRemovedLately } from './claim.js';
import { OUTCOME_PAGES, type Outcome, outcomeOfLink, type OutcomeView } from './outcomes.js';
import { dropPendingRedirect, keepPendingRedirect, readPendingRedirect } from './pending-redirect.js';
import { freshness, type Freshness, nonceDigest, parseRedirect, type Redirect } from './redirect.js';

declare module '../http/render.js' {
  interface Views {
    'link-sign-in': { title: string; csrfToken: string; pendingId: string; email: string; error: FormError | null };
    'link-confirm': { title: string; csrfToken: string; pendingId: string; userEmail: string };
    'link-outcome': { title: string; outcome: OutcomeView; csrfToken: string | null };
  }
}

export interface LinkPagesDependencies extends ClaimDependencies, Pick<Core, 'log' | 'linkClockSkewSeconds'> {
  limits: Pick<RateLimits, 'linkAttempt' | 'visit'>;
  isWelcome: IsWelcome;
  /** How long a page waits for Ring, in ms: once for the pair to arrive, once for the link to be confirmed. */
  patienceMs: number;
  /** When true, pages stop waiting for Ring. */
  isShuttingDown: () => boolean;
  /** Called with the result of each attempt to link, once for all its tries. */
  onClaimed: (result: PatientResult['kind']) => void;
}

export interface LinkPages {
  router: Router;
  /** Links for the user who has just signed in on the link page, and answers with the outcome. */
  link: (request: Request, response: Response) => Promise<void>;
  /** Shows the link page with the sign-in form. */
  showSignIn: (request: Request, response: Response, email?: string, error?: FormError) => Promise<void>;
}

/** The part of the form that names the redirect which its page was shown for. */
const Shown = z.object({ link: z.string().optional().catch('') });

/** An ID of the redirect for forms, where the nonce itself must not stand. */
const pageId = (redirect: Redirect): string => nonceDigest(redirect.nonce).toString('base64url');

const PAIR_POLL_MS = 1_000;
const CONFIRMATION_POLL_MS = 100;

/** The Account Link URL: from Ring's redirect to the outcome. */
export function createLinkPages(dependencies: LinkPagesDependencies): LinkPages {
  const { db, vault, clock, log, limits, isWelcome, linkClockSkewSeconds } = dependencies;

  async function show(request: Request, response: Response, outcome: Outcome): Promise<void> {
    const { status, switchUser, ...view } = OUTCOME_PAGES[outcome];
    const canSwitch = switchUser && request.user !== undefined;
    response.status(status);
    render(response, 'link-outcome', {
      title: view.heading,
      outcome: view,
      csrfToken: canSwitch ? await csrfToken(request) : null,
    });
  }

  /** Takes Ring's redirect into the session, and out of the address bar. */
  async function receive(request: Request, response: Response): Promise<void> {
    const redirect = parseRedirect(request.query);
    const outcome = redirect === undefined ? 'malformed' : turnedAway(redirect);
    if (redirect === undefined || outcome !== undefined) {
      await show(request, response, outcome ?? 'malformed');
      return;
    }
    // A new session ID, because someone else may know the one that this browser came with.
    if (request.user === undefined) await newSession(request);
    keepPendingRedirect(vault, request, redirect);
    await saveSession(request);
    seeOther(response, '/ring/link');
  }

  /** Turns a redirect away that is too old, or from the future. @returns undefined when it is fresh */
  function turnedAway(redirect: Redirect): Outcome | undefined {
    const age = freshness(redirect, clock(), linkClockSkewSeconds);
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

  /** The redirect that this browser came with, if it is still fresh. Otherwise the request is answered, with the reason. */
  async function pendingRedirectOrAnswer(request: Request, response: Response): Promise<Redirect | undefined> {
    const pending = readPendingRedirect(vault, request);
    if (pending === undefined) {
      await showNewestLink(request, response);
      return undefined;
    }
    const stale = turnedAway(pending);
    if (stale === undefined) return pending;
    dropPendingRedirect(request);
    await show(request, response, stale);
    return undefined;
  }

  /** Answers when nothing is pending in this browser. After a reload, that is because the link was made. */
  async function showNewestLink(request: Request, response: Response): Promise<void> {
    const newest = request.user && (await newestLinkOfUser(db, request.user.id));
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

  /** The ID of the pending redirect, for the forms of its page. */
  function pendingId(request: Request): string {
    const pending = readPendingRedirect(vault, request);
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
    const pending = await pendingRedirectOrAnswer(request, response);
    if (pending === undefined) return;
    // Another tab, or another site, may have brought another redirect since this page was shown.
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
      dropPendingRedirect(request);
      // Saved before the next wait. After it, the session would overwrite another tab's changes, a sign-out included.
      await saveSession(request);
    }
    const outcome = await outcomeOfClaim(dependencies, result);
    // The link page shows the same outcome of the user's newest link. It can be reloaded, which an answer to a form can't.
    if (result.kind === 'claimed' || result.kind === 'resumed') seeOther(response, '/ring/link');
    else await show(request, response, outcome);
  }

  const router = Router();
  const route = router.route('/ring/link');
  route.get(limitCaller(limits.visit, isWelcome), async (request, response) => {
    if (request.query.nonce !== undefined || request.query.time !== undefined) {
      await receive(request, response);
      return;
    }
    const pending = await pendingRedirectOrAnswer(request, response);
    if (pending === undefined) return;
    if (request.user === undefined) await showSignIn(request, response);
    else await showConfirm(request, response, request.user);
  });
  // A user who has signed out meanwhile in another tab has no CSRF token any more, and signs in on the link page.
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

/** The result of the attempts to claim. `app-removed`: no pair fits, and Ring has lately told us that the app was removed. */
export type PatientResult =
  Exclude<ClaimResult, { kind: 'user-deleted' }> | { kind: Exclude<Freshness, 'fresh'> | 'app-removed' };

/** The user was deleted in another window meanwhile. */
const userDeleted = (): HttpError =>
  new HttpError(409, 'Your account was deleted in the meantime, and nothing is linked.');

/** Waits for a pair that is missing, while the redirect is fresh: Ring's callback can be slower than the browser. */
async function claimPatiently(
  dependencies: LinkPagesDependencies,
  claimant: Claimant,
  redirect: Redirect,
): Promise<PatientResult> {
  const { clock, linkClockSkewSeconds, patienceMs, isShuttingDown } = dependencies;
  const giveUpAt = performance.now() + patienceMs;
  for (;;) {
    const age = freshness(redirect, clock(), linkClockSkewSeconds);
    if (age !== 'fresh') return { kind: age };
    const result = await claim(dependencies, claimant, redirect);
    if (result.kind === 'user-deleted') throw userDeleted();
    const mayStillArrive = result.kind === 'no-match' || result.kind === 'not-renewed';
    if (!mayStillArrive) return result;
    if (performance.now() > giveUpAt) {
      const isRemoved = result.kind === 'no-match' && (await wasRemovedLately(dependencies, redirect));
      return isRemoved ? { kind: 'app-removed' } : result;
    }
    if (isShuttingDown()) throw new HttpError(503, 'The service is being restarted.', { retryAfterSeconds: 5 });
    await delay(PAIR_POLL_MS);
  }
}

/** Whether another attempt with the same redirect, or by another user, may succeed. */
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

/** Watches the link while the claim's job confirms it, here or on another instance, for as long as a user would wait. */
async function waitForConfirmation(
  { db, patienceMs, isShuttingDown }: Pick<LinkPagesDependencies, 'db' | 'patienceMs' | 'isShuttingDown'>,
  linkId: string,
): Promise<Link> {
  const giveUpAt = performance.now() + patienceMs;
  for (;;) {
    const link = await findLink(db, linkId);
    if (link === undefined) throw userDeleted();
    if (link.status !== 'CONFIRMING' || performance.now() > giveUpAt || isShuttingDown()) return link;
    await delay(CONFIRMATION_POLL_MS);
  }
}
