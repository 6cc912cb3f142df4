import type { Core } from './core.js';
import { notePresence } from './events/presence.js';
import { purgeDeviceEvents } from './events/record-events.js';
import { purgeInbox } from './inbox/event-rows.js';
import { purgeArchive } from './inventory/archive.js';
import { checkSubscriptions } from './inventory/check-subscriptions.js';
import { purgeRemovedDevices } from './inventory/device-rows.js';
import type { PeriodicTask } from './jobs/periodic.js';
import { expireUnclaimedPairs, purgeExchanges, purgeExpiredPairs } from './linking/expiry.js';
import { endExpiredLiveViews, purgeEndedLiveViews } from './live-views/live-views.js';
import { purgePictureRequests } from './pictures/picture-requests.js';
import { startDueSchedules } from './pictures/schedules.js';
import { refreshInBackground } from './tokens/background-refresh.js';
import type { CallBudget } from './tokens/call-budget.js';

/** The periodic tasks by their names, which metrics show, and when they run: cron expressions in UTC. */
export const CRON_EXPRESSIONS = {
  'expire unclaimed tokens': '* * * * *',
  'refresh tokens': '* * * * *',
  'start due snapshots': '* * * * *',
  'check subscriptions': '* * * * *',
  // Often, because refused codes may be many.
  'forget old code exchanges': '* * * * *',
  // Often, because Ring ends a session by itself after a minute at most, and pages should not show it as open for long.
  'end expired live views': '*/5 * * * * *',
  // Often, because a minute without it means that events were missed.
  'note presence': '*/10 * * * * *',
  'purge the inbox': '29 * * * *',
  'forget ended live views': '47 * * * *',
  'forget expired token pairs': '23 3 * * *',
  'forget old device events': '27 3 * * *',
  'forget removed devices': '31 3 * * *',
  'purge the archive': '37 3 * * *',
} as const;

type Name = keyof typeof CRON_EXPRESSIONS;

export interface PeriodicTaskOptions {
  budget: CallBudget;
  auditRetentionDays: number;
  /** The e-mail addresses of users who need no subscription. */
  exempt: readonly string[];
  isStopping: () => boolean;
}

/** Each task may run on every instance at once, and again after a crash. */
export function periodicTasks(
  core: Pick<Core, 'db' | 'tokens' | 'clock' | 'log' | 'unclaimedTtlSeconds' | 'coverage'>,
  { budget, auditRetentionDays, exempt, isStopping }: PeriodicTaskOptions,
): PeriodicTask[] {
  const runs: Record<Name, () => Promise<void>> = {
    async 'expire unclaimed tokens'() {
      const expired = await expireUnclaimedPairs(core);
      if (expired > 0) core.log.info({ expired }, 'expired unclaimed token pairs');
    },
    'refresh tokens': () => refreshInBackground({ ...core, budget, isStopping }),
    'check subscriptions': () => checkSubscriptions({ ...core, exempt }),
    'start due snapshots': () => startDueSchedules(core),
    'end expired live views': () => endExpiredLiveViews(core),
    'note presence': () => notePresence(core),
    'forget old code exchanges': () => purgeExchanges(core),
    'purge the inbox': () => purgeInbox(core),
    'forget ended live views': () => purgeEndedLiveViews(core),
    'forget expired token pairs': () => purgeExpiredPairs(core),
    async 'forget old device events'() {
      await purgeDeviceEvents(core);
      await purgePictureRequests(core);
    },
    'forget removed devices': () => purgeRemovedDevices(core),
    'purge the archive': () => purgeArchive(core, auditRetentionDays),
  };
  return Object.entries(runs).map(([name, run]) => ({ name, cronExpression: CRON_EXPRESSIONS[name as Name], run }));
}
