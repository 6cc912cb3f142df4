import type { Core } from '../core.js';
import type { EventFeed } from '../events/event-feed.js';
import { HttpError } from '../http/errors.js';
import { requiredCoveredDevice } from './required-device.js';

export interface AccessDependencies extends Pick<Core, 'db' | 'clock' | 'log' | 'coverage'> {
  feed: Pick<EventFeed, 'subscribe'>;
}

export interface DeviceAccess {
  /** Aborts as soon as the user may not use the device any more. The reason is an {@link HttpError}. */
  lost: AbortSignal;
  /** Ends the watch. */
  end: () => void;
}

/**
 * Watches whether a user may use a device, for what goes on longer than a page. The end of a device, of its link, or of its
 * subscription is told to the pages of the user, and to this. What begins looks the device up **after** it has begun to watch.
 *
 * Without an answer of Postgres all stays as it is: nobody could have taken the device away then, either.
 */
export function watchAccess(dependencies: AccessDependencies, userId: string, deviceId: string): DeviceAccess {
  const { feed, log } = dependencies;
  const lost = new AbortController();

  async function look(): Promise<void> {
    try {
      await requiredCoveredDevice(dependencies, userId, deviceId);
    } catch (error) {
      if (error instanceof HttpError) lost.abort(error);
      else log.debug({ err: error }, 'whether a device may still be used could not be looked up');
    }
  }

  const end = feed.subscribe(userId, () => {
    void look();
  });
  return { lost: lost.signal, end };
}
