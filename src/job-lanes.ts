import type { Knex } from 'knex';
import type { Core } from './core.js';
import type { Database } from './database/database.js';
import { PROCESS_INBOX } from './inbox/wake-up.js';
import { fetchDevice, fetchInventory } from './inventory/fetch-devices.js';
import { fetchSubscriptions, subscriptionsKeyOf } from './inventory/subscriptions.js';
import { oneAtATime } from './jobs/one-at-a-time.js';
import type { Lane } from './jobs/queue.js';
import { CONFIRM_LINK, confirmationKeyOf, confirmLink } from './linking/confirm.js';
import { IDENTIFY_ACCOUNT, identifyAccount } from './linking/identify-pair.js';
import { identifierKeyOf, TELL_IDENTIFIER, tellIdentifier } from './linking/rename-at-ring.js';
import { CLOSE_LIVE_VIEW, closeAtRing } from './live-views/close-live-view.js';
import type { Metrics } from './operations/metrics.js';
import { TAKE_PICTURE, takeScheduledPicture } from './pictures/scheduled-picture.js';
import { FETCH_DEVICE, FETCH_INVENTORY, FETCH_SUBSCRIPTIONS } from './ring-accounts/refetch.js';
import { processInbox } from './webhooks/process.js';

export interface JobDependencies extends Pick<Metrics, 'onApplied' | 'onFailed' | 'onSnapshot'>, Core {
  /** Called when a link is completed, in the transaction that completes it. */
  onCompleted: (trx: Knex.Transaction, accountId: string) => Promise<void>;
}

/**
 * Every job, in two lanes. Jobs of the second may be many, and each waits for Ring: they must not delay those of the first,
 * for which users wait.
 */
export function jobLanes(database: Database, dependencies: JobDependencies): Lane[] {
  return [
    {
      concurrency: 10,
      tasks: {
        [IDENTIFY_ACCOUNT]: (payload) => identifyAccount(dependencies, payload),
        [CONFIRM_LINK]: oneAtATime(database, CONFIRM_LINK, confirmationKeyOf, (payload) =>
          confirmLink(dependencies, payload),
        ),
        [PROCESS_INBOX]: (payload) => processInbox(dependencies, payload),
        [CLOSE_LIVE_VIEW]: (payload) => closeAtRing(dependencies, payload),
      },
    },
    {
      concurrency: 5,
      tasks: {
        [FETCH_INVENTORY]: (payload) => fetchInventory(dependencies, payload),
        [FETCH_DEVICE]: (payload) => fetchDevice(dependencies, payload),
        // One at a time for each account, so that the answer that is stored last is the one that Ring gave last.
        [FETCH_SUBSCRIPTIONS]: oneAtATime(database, FETCH_SUBSCRIPTIONS, subscriptionsKeyOf, (payload) =>
          fetchSubscriptions(dependencies, payload),
        ),
        [TAKE_PICTURE]: (payload) => takeScheduledPicture(dependencies, payload),
        [TELL_IDENTIFIER]: oneAtATime(database, TELL_IDENTIFIER, identifierKeyOf, (payload) =>
          tellIdentifier(dependencies, payload),
        ),
      },
    },
  ];
}
