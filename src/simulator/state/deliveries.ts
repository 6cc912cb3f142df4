const DELIVERIES_KEPT = 10_000;

/** Ring keeps dead letters for 72 h. */
const DEAD_LETTER_LIFETIME_MS = 72 * 60 * 60 * 1_000;

/** `retrying`: not over yet, also before the first attempt. `refused`: by a 4xx, for good. `dropped`: never sent. */
export type DeliveryState = 'delivered' | 'refused' | 'retrying' | 'dead-letter' | 'dropped';

/** One attempt at a delivery. */
export interface Attempt {
  /** epoch ms */
  at: number;
  /** Null if the app could not be reached or gave no answer in time. */
  status: number | null;
  /** The duration in ms. */
  ms: number;
}

/** One webhook on its way to the app. */
export interface Delivery {
  readonly request_id: string;
  readonly type: string;
  readonly account_id: string;
  readonly body: string;
  readonly signature: string;
  state: DeliveryState;
  attempts: Attempt[];
}

/** The webhooks that were sent, oldest first. The oldest are dropped when there are too many. */
export class Deliveries {
  #deliveries: Delivery[] = [];

  list(): readonly Delivery[] {
    return this.#deliveries;
  }

  add(delivery: Delivery): void {
    this.#deliveries.push(delivery);
    if (this.#deliveries.length > DELIVERIES_KEPT) this.#deliveries.shift();
  }

  /** The dead letters that Ring still keeps and can send again. @param now epoch ms */
  deadLetters(now: number): Delivery[] {
    return this.#deliveries.filter(({ state, attempts }) => {
      const diedAt = attempts.at(-1)?.at ?? 0;
      return state === 'dead-letter' && now - diedAt <= DEAD_LETTER_LIFETIME_MS;
    });
  }
}
