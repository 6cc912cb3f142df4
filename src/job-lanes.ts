import type { Core } from './core.js';
import type { Database } from './database/database.js';
import { READ_HISTORY } from './events/history-rows.js';
import { NOTE_MISSED_TIME, noteMissed, readHistory } from './events/read-history.js';
import { accountsOf, PROCESS_INBOX } from './inbox/wake-up.js';
import { fetchDevice, fetchInventory, fetchStatus } from './inventory/fetch-devices.js';
import { fetchSubscriptions, subscriptionsKeyOf } from './inventory/subscriptions.js';
import { oneAtATime } from './jobs/one-at-a-time.js';
import type { Lane } from './jobs/queue.js';
import { CONFIRM_LINK, confirmationKeyOf, confirmLink } from './linking/confirm.js';
import { IDENTIFY_ACCOUNT, identifyAccount } from './linking/identify-pair.js';
import { identifierKeyOf, TELL_IDENTIFIER, tellIdentifier } from './linking/tell-identifier.js';
import { CLOSE_LIVE_VIEW, closeAtRing } from './live-views/close-live-view.js';
import type { Metrics } from './operations/metrics.js';
import {
  FETCH_EVENT_PICTURE,
  FETCH_PICTURE,
  fetchAwaitedPicture,
  fetchEventPicture,
} from './pictures/fetch-picture.js';
import { TAKE_PICTURE, takeScheduledPicture } from './pictures/scheduled-picture.js';
import { FETCH_DEVICE, FETCH_INVENTORY, FETCH_STATUS, FETCH_SUBSCRIPTIONS } from './ring-accounts/refetch.js';
import type { CallBudget } from './tokens/call-budget.js';
import type { Applier } from './webhooks/applier.js';

/**
 * Every job, in lanes. Jobs of the second may be many, and each waits for Ring: they must not delay those of the first, for
 * which users wait. Those of the others also wait for their turn to call Ring, for minutes after an outage.
 */
export function jobLanes(
  core: Core,
  database: Database,
  applier: Pick<Applier, 'wake'>,
  { onPicture }: Pick<Metrics, 'onPicture'>,
  { pictureBudget, historyBudget }: Record<'pictureBudget' | 'historyBudget', CallBudget>,
): Lane[] {
  return [
    {
      concurrency: 10,
      tasks: {
        [IDENTIFY_ACCOUNT]: (payload) => identifyAccount(core, payload),
        [CONFIRM_LINK]: oneAtATime(database, CONFIRM_LINK, confirmationKeyOf, (payload) => confirmLink(core, payload)),
        [PROCESS_INBOX]: (payload) => {
          applier.wake(accountsOf(payload));
        },
        [CLOSE_LIVE_VIEW]: (payload) => closeAtRing(core, payload),
        [NOTE_MISSED_TIME]: (payload) => noteMissed(core, payload),
      },
    },
    {
      concurrency: 5,
      tasks: {
        [FETCH_INVENTORY]: (payload) => fetchInventory(core, payload),
        [FETCH_DEVICE]: (payload) => fetchDevice(core, payload),
        [FETCH_STATUS]: (payload) => fetchStatus(core, payload),
        // One at a time for each account, so that the answer that is stored last is the one that Ring gave last.
        [FETCH_SUBSCRIPTIONS]: oneAtATime(database, FETCH_SUBSCRIPTIONS, subscriptionsKeyOf, (payload) =>
          fetchSubscriptions(core, payload),
        ),
        [TAKE_PICTURE]: (payload) => takeScheduledPicture({ ...core, onPicture }, payload),
        [FETCH_PICTURE]: (payload) => fetchAwaitedPicture({ ...core, onPicture }, payload),
        [TELL_IDENTIFIER]: oneAtATime(database, TELL_IDENTIFIER, identifierKeyOf, (payload) =>
          tellIdentifier(core, payload),
        ),
      },
    },
    {
      concurrency: 2,
      tasks: {
        [FETCH_EVENT_PICTURE]: (payload) => fetchEventPicture({ ...core, onPicture, pictureBudget }, payload),
      },
    },
    {
      concurrency: 3,
      tasks: { [READ_HISTORY]: (payload) => readHistory({ ...core, historyBudget }, payload) },
    },
  ];
}
