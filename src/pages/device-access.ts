import type { Core } from '../core.js';
import type { EventFeed } from '../events/event-feed.js';
import { HttpError } from '../http/errors.js';
import { sessionEnded } from '../users/current-user.js';
import { requiredCoveredDevice } from './required-device.js';

export interface AccessDependencies extends Pick<Core, 'db' | 'clock' | 'log' | 'coverage'> {
  feed: Pick<EventFeed, 'subscribe'>;
  /** Tells which of these sessions stand. */
  standing: (sessionIds: string[]) => Promise<Set<string>>;
}

/** Who uses a device, and by which session. */
export interface DeviceUse {
  userId: string;
  sessionId: string;
  deviceId: string;
}

export interface DeviceAccess {
  /** Aborts soon after the user may not use the device any more. The reason is an {@link HttpError}. */
  lost: AbortSignal;
  /** Ends the watch. */
  end: () => void;
}

/** The end of a session, and of a subscription by its date, is told to nobody: it is looked for so often, in ms. */
const LOOK_INTERVAL_MS = 5_000;

/**
 * Watches whether a user may use a device, for what goes on longer than a page. The end of a device, of its link, or of its
 * subscription is told to the pages of the user, and to this. What begins looks the device up **after** it has begun to watch.
 *
 * Without an answer of Postgres all stays as it is: nobody could have taken the device away or signed out then, either.
 */
export function watchAccess(
  dependencies: AccessDependencies,
  { userId, sessionId, deviceId }: DeviceUse,
): DeviceAccess {
  const { feed, standing, log } = dependencies;
  const lost = new AbortController();

  async function look(): Promise<void> {
    try {
      if (!(await standing([sessionId])).has(sessionId)) throw sessionEnded();
      await requiredCoveredDevice(dependencies, userId, deviceId);
    } catch (error) {
      if (error instanceof HttpError) lost.abort(error);
      else log.debug({ err: error }, 'whether a device may still be used could not be looked up');
    }
  }

  const unsubscribe = feed.subscribe(userId, () => {
    void look();
  });
  const looking = setInterval(() => {
    void look();
  }, LOOK_INTERVAL_MS).unref();
  return {
    lost: lost.signal,
    end() {
      clearInterval(looking);
      unsubscribe();
    },
  };
}
