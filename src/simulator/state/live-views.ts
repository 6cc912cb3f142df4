import { randomUUID } from 'node:crypto';
import { BoundedMap } from './bounded-map.js';
import type { Power } from './devices.js';

/** The time after which Ring ends a live view by itself. */
const LIMIT_MS: Record<Power, number> = { battery: 30_000, wired: 60_000 };
const SESSIONS_KEPT = 10_000;

/**
 * `expired`: ended by its time limit. `closed`: ended by the app, or because the device went offline, or because the
 * device or the app was removed.
 */
export type LiveViewState = 'open' | 'closed' | 'expired';

export interface LiveView {
  session_id: string;
  account_id: string;
  device_id: string;
  /** epoch ms */
  started_at: number;
  state: LiveViewState;
}

interface Session extends Omit<LiveView, 'state'> {
  limitMs: number;
  /** Epoch ms; null for a view that nobody and nothing but its time limit has ended. */
  closed_at: number | null;
}

/** A live view that is over, however it ended. */
export interface PastLiveView extends Omit<LiveView, 'state'> {
  /** epoch ms */
  ended_at: number;
}

/** The live views that were started, over or not. The oldest are dropped when there are too many. */
export class LiveViews {
  readonly #sessions = new BoundedMap<string, Session>(SESSIONS_KEPT);
  readonly #now: () => number;

  constructor(now: () => number) {
    this.#now = now;
  }

  list(): LiveView[] {
    return [...this.#sessions.values()].map((session) => {
      const { session_id, account_id, device_id, started_at } = session;
      return { session_id, account_id, device_id, started_at, state: this.#stateOf(session) };
    });
  }

  /** Returns the session's id. */
  open(account_id: string, device_id: string, power: Power): string {
    const session_id = randomUUID();
    const started_at = this.#now();
    const limitMs = LIMIT_MS[power];
    this.#sessions.set(session_id, { session_id, account_id, device_id, started_at, limitMs, closed_at: null });
    return session_id;
  }

  isOpen(session_id: string): boolean {
    const session = this.#sessions.get(session_id);
    return session !== undefined && this.#stateOf(session) === 'open';
  }

  /** True if there was an open session of this device to close. */
  close(account_id: string, device_id: string, session_id: string): boolean {
    const session = this.#sessions.get(session_id);
    if (session === undefined || this.#stateOf(session) !== 'open') return false;
    if (session.account_id !== account_id || session.device_id !== device_id) return false;
    session.closed_at = this.#now();
    return true;
  }

  /** Closes the live views of an account, or of one of its devices. */
  closeAll(account_id: string, device_id?: string): void {
    for (const session of this.#sessions.values()) {
      const isMeant = session.account_id === account_id && (device_id ?? session.device_id) === session.device_id;
      if (isMeant && this.#stateOf(session) === 'open') session.closed_at = this.#now();
    }
  }

  /** The live views that are over, oldest first. */
  over(): PastLiveView[] {
    const past = [...this.#sessions.values()].filter((session) => this.#stateOf(session) !== 'open');
    return past.map(({ session_id, account_id, device_id, started_at, limitMs, closed_at }) => {
      return { session_id, account_id, device_id, started_at, ended_at: closed_at ?? started_at + limitMs };
    });
  }

  /** Forgets a session that never came about. */
  discard(session_id: string): void {
    this.#sessions.delete(session_id);
  }

  #stateOf({ closed_at, started_at, limitMs }: Session): LiveViewState {
    if (closed_at !== null) return 'closed';
    return this.#now() - started_at >= limitMs ? 'expired' : 'open';
  }
}
