import { BoundedMap } from './bounded-map.js';

const LIVES_KEPT = 100;

/** One step of a scripted life, done. */
export interface LifeStep {
  step: string;
  ok: boolean;
  /** What came of it, in words. */
  detail: string;
}

/** A user's whole life with the app, from installing to removing it. */
export interface Life {
  readonly id: string;
  readonly user_id: string;
  state: 'running' | 'over';
  /** Those that are done, in order. */
  readonly steps: LifeStep[];
}

/** The scripted lives, running or over; the oldest are forgotten. */
export class Lives {
  readonly #lives = new BoundedMap<string, Life>(LIVES_KEPT);

  add(life: Life): void {
    this.#lives.set(life.id, life);
  }

  find(id: string): Life | undefined {
    return this.#lives.get(id);
  }
}
