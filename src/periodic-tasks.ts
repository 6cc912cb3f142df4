import type { Core } from './core.js';
import { purgeDeviceEvents } from './events/record-events.js';
import { purgeInbox } from './inbox/event-rows.js';
import { wakeOverdueInboxes } from './inbox/wake-up.js';
import { purgeArchive } from './inventory/archive.js';
import { checkSubscriptions } from './inventory/check-subscriptions.js';
import { purgeRemovedDevices } from './inventory/device-rows.js';
import type { PeriodicTask } from './jobs/periodic.js';
import { expireUnclaimedPairs, purgeExchanges, purgeExpiredPairs } from './linking/expiry.js';
import { endExpiredLiveViews, purgeEndedLiveViews } from './live-views/live-views.js';
import { startDueSchedules } from './pictures/schedules.js';
import { refreshInBackground } from './tokens/background-refresh.js';
import type { RefreshBudget } from './tokens/refresh-budget.js';

/** The periodic tasks by their names, which metrics show, and when they run: cron expressions in UTC. */
export const SCHEDULES = {
  'expire unclaimed tokens': '* * * * *',
  'refresh tokens': '* * * * *',
  'wake overdue inboxes': '* * * * *',
  'start due snapshots': '* * * * *',
  'check subscriptions': '* * * * *',
  // Often, because Ring ends a session by itself after a minute at most, and pages should not show it as open for long.
  'end expired live views': '*/5 * * * * *',
  'forget old code exchanges': '17 * * * *',
  'purge the inbox': '29 * * * *',
  'forget ended live views': '47 * * * *',
  'forget expired token pairs': '23 3 * * *',
  'forget old device events': '27 3 * * *',
  'forget removed devices': '31 3 * * *',
  'purge the archive': '37 3 * * *',
} as const;

type Name = keyof typeof SCHEDULES;

export interface PeriodicTaskDependencies extends Pick<
  Core,
  'db' | 'tokens' | 'clock' | 'log' | 'unclaimedTtlSeconds' | 'coverage'
> {
  budget: RefreshBudget;
  auditRetentionDays: number;
  /** The e-mail addresses of users who need no subscription. */
  exempt: readonly string[];
  isStopping: () => boolean;
}

/** Each task may run on every instance at once, and again after a crash. */
export function periodicTasks(dependencies: PeriodicTaskDependencies): PeriodicTask[] {
  const { log, unclaimedTtlSeconds, auditRetentionDays } = dependencies;
  const runs: Record<Name, () => Promise<void>> = {
    async 'expire unclaimed tokens'() {
      const expired = await expireUnclaimedPairs(dependencies, unclaimedTtlSeconds);
      if (expired > 0) log.info({ expired }, 'expired unclaimed token pairs');
    },
    'refresh tokens': () => refreshInBackground(dependencies),
    'wake overdue inboxes': () => wakeOverdueInboxes(dependencies),
    'check subscriptions': () => checkSubscriptions(dependencies),
    'start due snapshots': () => startDueSchedules(dependencies),
    'end expired live views': () => endExpiredLiveViews(dependencies),
    'forget old code exchanges': () => purgeExchanges(dependencies),
    'purge the inbox': () => purgeInbox(dependencies),
    'forget ended live views': () => purgeEndedLiveViews(dependencies),
    'forget expired token pairs': () => purgeExpiredPairs(dependencies),
    'forget old device events': () => purgeDeviceEvents(dependencies),
    'forget removed devices': () => purgeRemovedDevices(dependencies),
    'purge the archive': () => purgeArchive(dependencies, auditRetentionDays),
  };
  return Object.entries(runs).map(([name, run]) => ({ name, schedule: SCHEDULES[name as Name], run }));
}
