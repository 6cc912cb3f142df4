/** Ring's limit for one client ID over all endpoints. */
const REQUESTS_A_SECOND = 100;

/** Counts the requests of each second. */
export class RequestLimit {
  #second = 0;
  #count = 0;

  /** @param now epoch ms */
  take(now: number): { isOver: boolean; headers: Record<string, string> } {
    const second = Math.floor(now / 1_000);
    if (second !== this.#second) this.#count = 0;
    this.#second = second;
    this.#count++;
    const remaining = Math.max(0, REQUESTS_A_SECOND - this.#count);
    return {
      isOver: this.#count > REQUESTS_A_SECOND,
      headers: { 'X-RateLimit-Limit': String(REQUESTS_A_SECOND), 'X-RateLimit-Remaining': String(remaining) },
    };
  }
}
