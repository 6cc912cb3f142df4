import { BoundedMap } from './bounded-map.js';

const LIVES_KEPT = 100;

/** One finished step of a scripted life. */
export interface LifeStep {
  step: string;
  ok: boolean;
  /** The result in words. */
  detail: string;
}

/** A user's whole life with the app, from installing to removing it. */
export interface Life {
  readonly id: string;
  readonly user_id: string;
  state: 'running' | 'over';
  /** The finished steps, in order. */
  readonly steps: LifeStep[];
}

/** The scripted lives, running or over. The oldest are dropped when there are too many. */
export class Lives {
  readonly #lives = new BoundedMap<string, Life>(LIVES_KEPT);

  add(life: Life): void {
    this.#lives.set(life.id, life);
  }

  find(id: string): Life | undefined {
    return this.#lives.get(id);
  }
}
