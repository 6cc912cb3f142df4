import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { isDatabaseUnavailable } from '../database/unavailable.js';
import { accountsToApply } from '../inbox/pending.js';
import { onBehalfOf } from '../request-id.js';
import { applyCarefully, type ApplyDependencies, applyTogether, type Outlook } from './apply.js';

/** Applies pending events of the inbox, those of one account one after the other, many accounts side by side. */
export interface Applier {
  /**
   * Has the pending events of these Ring accounts applied soon, from memory. Accounts for which there is no room are found by
   * the next sweep.
   */
  wake(accountIds: readonly string[]): void;
  /** Finishes what is being applied. Accounts that wait are found by the sweep of another instance, or of the next start. */
  stop(): Promise<void>;
}

/** Transactions at once, as long as none is slow: the fewer, the more accounts each applies. */
const RUNS = 2;
/** A transaction that takes longer, in ms, waits for a lock or does much. Others go on beside it. */
const SLOW_MS = 250;
/** The most transactions at once. Each has a connection, which pages want, too. */
const MOST_RUNS = 8;
/** Accounts in one transaction. */
const GROUP = 50;
const MOST_WAITING = 10_000;
/** The pause between two sweeps, in ms; at most twice as long. A crash is to delay no event by more than 10 s. */
const SWEEP_PAUSE_MS = 2_000;

/**
 * Starts applying. An instance applies at once what it has stored itself. A sweep over the inbox finds what no instance has
 * in its memory: after a crash, after an outage of the database, or because there was no room.
 */
export function startApplier(dependencies: ApplyDependencies): Applier {
  const { db, log } = dependencies;
  /** Accounts wait in turn. */
  const waiting = new Set<string>();
  /** The accounts that are being applied, and whether they have been woken meanwhile. */
  const running = new Map<string, { isWokenAgain: boolean }>();
  /** Those that wait for a time. */
  const paused = new Map<string, NodeJS.Timeout>();
  /** Those that have failed together with others. */
  const careful = new Set<string>();
  const runs = new Set<Promise<void>>();
  const slow = new Set<Promise<void>>();
  const stopping = new AbortController();

  function wake(accountIds: readonly string[]): void {
    if (stopping.signal.aborted) return;
    for (const accountId of accountIds) {
      const run = running.get(accountId);
      if (run !== undefined) run.isWokenAgain = true;
      else if (waiting.size < MOST_WAITING) waiting.add(accountId);
    }
    start();
  }

  function start(): void {
    while (waiting.size > 0 && hasFreeRun() && !stopping.signal.aborted) {
      const group = takeGroup();
      const run = onBehalfOf(randomUUID(), () => apply(group)).finally(() => {
        clearTimeout(timer);
        runs.delete(run);
        slow.delete(run);
        start();
      });
      const timer = setTimeout(() => {
        slow.add(run);
        start();
      }, SLOW_MS);
      runs.add(run);
    }
  }

  const hasFreeRun = (): boolean => runs.size - slow.size < RUNS && runs.size < MOST_RUNS;

  /** Takes those that have waited longest: one that needs care by itself, or many others. */
  function takeGroup(): string[] {
    const group: string[] = [];
    for (const accountId of waiting) {
      if (careful.has(accountId) && group.length > 0) continue;
      waiting.delete(accountId);
      running.set(accountId, { isWokenAgain: false });
      group.push(accountId);
      if (careful.has(accountId) || group.length === GROUP) break;
    }
    return group;
  }

  async function apply(group: readonly string[]): Promise<void> {
    const outlooks = await tryToApply(group).catch((error: unknown): ReadonlyMap<string, Outlook> => {
      const level = isDatabaseUnavailable(error) ? 'warn' : 'error';
      log[level]({ err: error, accounts: group.length }, 'webhook events were not applied; the next sweep finds them');
      return new Map();
    });
    const again = group.filter((accountId) => {
      const isWokenAgain = running.get(accountId)?.isWokenAgain === true;
      running.delete(accountId);
      const outlook = outlooks.get(accountId);
      return outlook !== undefined && (hasMore(accountId, outlook) || isWokenAgain);
    });
    wake(again);
  }

  async function tryToApply(group: readonly string[]): Promise<ReadonlyMap<string, Outlook>> {
    const [first = ''] = group;
    if (!careful.delete(first)) return applyTogether(dependencies, group);
    return new Map([[first, await applyCarefully(dependencies, first)]]);
  }

  /** Whether there is something to apply now. */
  function hasMore(accountId: string, outlook: Outlook): boolean {
    if (outlook === 'careful') careful.add(accountId);
    if (typeof outlook !== 'object') return outlook !== 'done';
    pause(accountId, outlook.pauseMs);
    return false;
  }

  function pause(accountId: string, pauseMs: number): void {
    if (stopping.signal.aborted || paused.size >= MOST_WAITING) return;
    clearTimeout(paused.get(accountId));
    const timer = setTimeout(() => {
      paused.delete(accountId);
      wake([accountId]);
    }, pauseMs);
    paused.set(accountId, timer.unref());
  }

  async function keepSweeping(): Promise<void> {
    while (!stopping.signal.aborted) {
      await sweep().catch((error: unknown) => {
        log.warn({ err: error }, 'the inbox could not be swept');
      });
      // Spread, so that instances that have started together don't sweep together.
      const pauseMs = SWEEP_PAUSE_MS * (1 + Math.random());
      await delay(pauseMs, undefined, { signal: stopping.signal, ref: false }).catch(() => undefined);
    }
  }

  async function sweep(): Promise<void> {
    const room = MOST_WAITING - waiting.size;
    if (room > 0) wake(await accountsToApply(db, room));
  }

  const sweeping = keepSweeping();
  return {
    wake,
    async stop() {
      stopping.abort();
      for (const timer of paused.values()) clearTimeout(timer);
      await Promise.all([sweeping, ...runs]);
    },
  };
}
