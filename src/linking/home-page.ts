import { type Request, type Response, Router } from 'express';
import type { Knex } from 'knex';
import type { FormError } from '../accounts/routes.js';
import { csrfToken } from '../accounts/csrf.js';
import { describeStatus, describeTime, nameOfDevice, pathOfDevice } from '../devices/describe-device.js';
import { type ListedDevice, listDevices } from '../devices/device-list.js';
import { subscriptionsOfUser, type UserSubscription } from '../devices/subscriptions.js';
import { latestEvents } from '../devices/latest-events.js';
import { methodNotAllowed } from '../http/errors.js';
import { limitAddress, type RateLimits } from '../http/rate-limits.js';
import { seeOther } from '../http/see-other.js';
import { type Link, linksOfUser, type LinkStatus, NONCE_TOO_OLD } from './links.js';

export interface HomePage {
  router: Router;
  /** The home page of someone who is not signed in. */
  showSignedOut: (request: Request, response: Response, email?: string, error?: FormError) => Promise<void>;
}

/** The App Homepage URL: how each of the user's links stands, or how to get one. */
export function createHomePage(database: Knex, limits: RateLimits): HomePage {
  async function showSignedOut(
    request: Request,
    response: Response,
    email = '',
    error: FormError | null = null,
  ): Promise<void> {
    response.render('home', {
      title: 'Home',
      csrfToken: await csrfToken(request),
      user: null,
      email,
      error,
      isAsked: request.query['sign-in'] !== undefined,
      links: [],
    });
  }

  const router = Router();
  const route = router.route('/ring/home');
  route.get(limitAddress(limits.visit), async (request, response) => {
    if (request.user === undefined) {
      await showSignedOut(request, response);
      return;
    }
    const links = standingFirst(await linksOfUser(database, request.user.id));
    const devices = await listDevices(database, request.user.id);
    const subscriptions = await subscriptionsOfUser(database, request.user.id);
    response.render('home', {
      title: 'Home',
      csrfToken: await csrfToken(request),
      user: { email: request.user.email },
      email: '',
      error: null,
      links: links.map((link) => ({
        ...describe(link),
        devices: devices.filter(({ linkId }) => linkId === link.id).map(describeDevice),
        subscriptions: subscriptions.filter(({ linkId }) => linkId === link.id).map(describeSubscription),
        isUsable: link.status === 'COMPLETED',
        isOutdated: devices.some(({ linkId, isShared, isOutdated }) => linkId === link.id && isShared && isOutdated),
      })),
      latest: devices.some(({ isShared }) => isShared) ? await latestEvents(database, request.user.id) : null,
    });
  });
  route.all(methodNotAllowed('GET', 'HEAD'));
  router.get('/', (_request, response) => {
    seeOther(response, '/ring/home');
  });
  return { router, showSignedOut };
}

/** Newest first, those that have ended after all others. */
function standingFirst(links: Link[]): Link[] {
  const hasEnded = ({ status }: Link) => status === 'REMOVED' || status === 'REFUSED';
  return links.toSorted((one, other) => Number(hasEnded(one)) - Number(hasEnded(other)));
}

interface LinkCard {
  statusText: string;
  tone: 'success' | 'working' | 'problem' | 'ended';
  detail: string;
}

const CARDS: Readonly<Record<LinkStatus, LinkCard>> = {
  CONFIRMING: {
    statusText: 'Being finished',
    tone: 'working',
    detail: 'We’re waiting for Ring to confirm this link, and keep trying. There is nothing you need to do.',
  },
  COMPLETED: {
    statusText: 'Linked',
    tone: 'success',
    detail: 'Ring has confirmed this link. To end it, remove the app under My Apps in the Ring app.',
  },
  REFUSED: {
    statusText: 'Not linked',
    tone: 'problem',
    detail: 'Ring did not accept this link. In the Ring app, remove the app under My Apps and add it again.',
  },
  REAUTH_REQUIRED: {
    statusText: 'Has to be linked again',
    tone: 'problem',
    detail: 'Ring no longer lets us see these devices. In the Ring app, remove the app under My Apps and add it again.',
  },
  REMOVED: {
    statusText: 'Ended',
    tone: 'ended',
    detail: 'The app was removed in the Ring app. To link again, add it from the Ring Appstore.',
  },
};

const SIGN_IN_AGAIN: LinkCard = {
  statusText: 'Waiting for you',
  tone: 'problem',
  detail: 'Ring wants to see you again before it confirms this link. Open this app in the Ring app and tap Sign In.',
};

function describe(link: Link) {
  return {
    ...(link.lastError === NONCE_TOO_OLD ? SIGN_IN_AGAIN : CARDS[link.status]),
    since: describeTime(link.updatedAt),
  };
}

function describeDevice({ id, name, online, onlineSince, removedAt, isShared }: ListedDevice) {
  const common = { name: nameOfDevice(name), href: isShared ? pathOfDevice(id) : null };
  if (removedAt !== null) {
    return { ...common, tone: 'ended', statusText: 'Removed in the Ring app', at: describeTime(removedAt) };
  }
  // Without a link that works, nobody tells us when that changes.
  const { statusText, tone } = isShared
    ? describeStatus(online)
    : { statusText: 'Not known at the moment', tone: 'ended' };
  return !isShared || online === null || onlineSince === null
    ? { ...common, tone, statusText, at: null }
    : { ...common, tone, statusText: `${statusText} since`, at: describeTime(onlineSince) };
}

/** What Ring says of a subscription, in a line. */
function describeSubscription({ subType, status, expiresAt, deviceNames }: UserSubscription) {
  const kind = { paid: 'Paid plan', trial: 'Free trial' }[subType] ?? 'Plan';
  return {
    text: status === 'active' ? `${kind}${expiresAt === null ? '' : ' until'}` : `${kind}, ended`,
    at: status === 'active' && expiresAt !== null ? describeTime(expiresAt) : null,
    devices: deviceNames.map(nameOfDevice).join(', '),
  };
}
