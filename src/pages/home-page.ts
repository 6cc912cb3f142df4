import { type Request, type Response, Router } from 'express';
import type { Core } from '../core.js';
import { refetchOldSensors } from '../devices/device-details.js';
import { kindOfDevice } from '../devices/device-kind.js';
import { type ListedDevice, listDevices } from '../devices/device-list.js';
import {
  statusView,
  timeView,
  nameOfDevice,
  pathOfDevice,
  type StatusView,
  type TimeView,
  type Tone,
} from '../devices/device-view.js';
import { sensorViews } from '../devices/sensors-view.js';
import { latestEvents, type LatestEventsView } from '../events/latest-events.js';
import { methodNotAllowed } from '../http/errors.js';
import { limitCaller, type RateLimits } from '../http/rate-limits.js';
import { render } from '../http/render.js';
import { seeOther } from '../http/see-other.js';
import { subscriptionsOfUser, uncoveredDevicesOfUser, type UserSubscription } from '../inventory/subscriptions.js';
import { type LinkOutcome, outcomeOfLink } from '../linking/outcomes.js';
import { type Link, linksOfUser } from '../ring-accounts/links.js';
import { csrfToken } from '../users/csrf.js';
import type { FormError } from '../users/routes.js';

declare module '../http/render.js' {
  interface Views {
    'home-signed-out': { title: string; csrfToken: string; email: string; error: FormError | null; isAsked: boolean };
    home: { title: string; csrfToken: string; email: string; links: LinkView[]; latest: LatestEventsView | null };
  }
}

/** A linked Ring account, with its devices. */
export interface LinkView extends LinkCard {
  since: TimeView;
  devices: LinkedDeviceView[];
  subscriptions: SubscriptionView[];
  isUsable: boolean;
  /** The names of its devices that lack a subscription. */
  uncovered: string;
  isOutdated: boolean;
}

interface LinkedDeviceView extends StatusView {
  name: string;
  /** What it is; empty while that is not known. */
  kind: string;
  sensors: StatusView[];
  /** The address of its page; null when it can't be opened. */
  href: string | null;
}

interface SubscriptionView {
  text: string;
  at: TimeView | null;
  /** The names of those that it is for; none if it is for all. */
  devices: string;
}

export interface HomePageDependencies extends Pick<Core, 'db' | 'clock' | 'coverage'> {
  limits: RateLimits;
}

export interface HomePage {
  router: Router;
  /** The home page of someone who is not signed in. */
  showSignedOut: (request: Request, response: Response, email?: string, error?: FormError) => Promise<void>;
}

/** The App Homepage URL: how each of the user's links stands, or how to get one. */
export function createHomePage(dependencies: HomePageDependencies): HomePage {
  const { db, clock, limits } = dependencies;

  async function showSignedOut(
    request: Request,
    response: Response,
    email = '',
    error: FormError | null = null,
  ): Promise<void> {
    render(response, 'home-signed-out', {
      title: 'Home',
      csrfToken: await csrfToken(request),
      email,
      error,
      isAsked: request.query['sign-in'] !== undefined,
    });
  }

  const router = Router();
  const route = router.route('/ring/home');
  route.get(limitCaller(limits.visit), async (request, response) => {
    if (request.user === undefined) {
      await showSignedOut(request, response);
      return;
    }
    const { id: userId, email } = request.user;
    const [links, devices, subscriptions, uncovered] = await Promise.all([
      linksOfUser(db, userId),
      listDevices(db, userId),
      subscriptionsOfUser(db, userId),
      uncoveredDevicesOfUser(dependencies, userId),
    ]);
    await refetchOldSensors(db, devices, clock());
    render(response, 'home', {
      title: 'Home',
      csrfToken: await csrfToken(request),
      email,
      links: standingFirst(links).map((link) => ({
        ...linkView(link),
        devices: devices.filter(({ linkId }) => linkId === link.id).map(linkedDeviceView),
        subscriptions: subscriptions
          .filter(({ linkId }) => linkId === link.id)
          .map((subscription) => subscriptionView(subscription, clock())),
        isUsable: link.status === 'COMPLETED',
        uncovered: uncovered
          .filter(({ linkId }) => linkId === link.id)
          .map(({ name }) => nameOfDevice(name))
          .join(', '),
        isOutdated: devices.some(({ linkId, isShared, isOutdated }) => linkId === link.id && isShared && isOutdated),
      })),
      latest: devices.some(({ isShared }) => isShared) ? await latestEvents(dependencies, userId) : null,
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

/** A linked Ring account, in a few words. */
interface LinkCard {
  statusText: string;
  tone: Tone;
  detail: string;
}

const CARDS: Readonly<Record<LinkOutcome, LinkCard>> = {
  'being-finished': {
    statusText: 'Being finished',
    tone: 'working',
    detail: 'We’re waiting for Ring to confirm this link. There is nothing you need to do.',
  },
  'ring-unreachable': {
    statusText: 'Being finished',
    tone: 'working',
    detail: 'Ring isn’t answering right now. We keep trying to finish this link; there is nothing you need to do.',
  },
  'sign-in-again': {
    statusText: 'Waiting for you',
    tone: 'problem',
    detail: 'Ring wants to see you again before it confirms this link. Open this app in the Ring app and tap Sign In.',
  },
  linked: {
    statusText: 'Linked',
    tone: 'success',
    detail: 'Ring has confirmed this link. To end it, remove the app under My Apps in the Ring app.',
  },
  refused: {
    statusText: 'Not linked',
    tone: 'problem',
    detail: 'Ring did not accept this link. In the Ring app, remove the app under My Apps and add it again.',
  },
  'needs-relinking': {
    statusText: 'Has to be linked again',
    tone: 'problem',
    detail: 'Ring no longer lets us see these devices. In the Ring app, remove the app under My Apps and add it again.',
  },
  removed: {
    statusText: 'Ended',
    tone: 'ended',
    detail: 'The app was removed in the Ring app. To link again, add it from the Ring Appstore.',
  },
};

function linkView(link: Link): LinkCard & { since: TimeView } {
  return { ...CARDS[outcomeOfLink(link)], since: timeView(link.removedAt ?? link.updatedAt) };
}

function linkedDeviceView(device: ListedDevice): LinkedDeviceView {
  const { id, name, removedAt, isShared } = device;
  const common = { name: nameOfDevice(name), href: isShared ? pathOfDevice(id) : null, kind: '', sensors: [] };
  if (removedAt !== null) {
    return {
      ...common,
      tone: 'ended',
      statusText: 'Removed in the Ring app',
      when: { word: '', ...timeView(removedAt) },
    };
  }
  // Without a link that works, we are not told when that changes.
  if (!isShared) return { ...common, tone: 'ended', statusText: 'Not known at the moment', when: null };
  return { ...common, ...statusView(device), kind: kindOfDevice(device) ?? '', sensors: sensorViews(device) };
}

/** A subscription in one line, as Ring tells it. It can end before its date, and outlast it. */
function subscriptionView({ subType, status, expiresAt, deviceNames }: UserSubscription, now: Date): SubscriptionView {
  const kind = { paid: 'Paid subscription', trial: 'Free trial', other: 'Subscription' }[subType];
  const isActive = status === 'active';
  const isDateTrue = expiresAt !== null && expiresAt > now === isActive;
  const word = isActive ? (isDateTrue ? 'until' : 'active') : 'ended';
  return {
    text: `${kind}, ${word}`,
    at: isDateTrue ? timeView(expiresAt) : null,
    devices: deviceNames.map(nameOfDevice).join(', '),
  };
}
