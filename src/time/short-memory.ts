/** Remembers keys for a short time, and so many of them at most: the oldest is forgotten first. */
export interface ShortMemory {
  has(key: string): boolean;
  add(key: string): void;
}

export function createShortMemory(forMs: number, most: number): ShortMemory {
  /** Until when each is remembered. The oldest comes first. */
  const until = new Map<string, number>();
  return {
    has: (key) => (until.get(key) ?? 0) > performance.now(),
    add(key) {
      const now = performance.now();
      until.delete(key);
      until.set(key, now + forMs);
      for (const [oldest, end] of until) {
        if (until.size <= most && now < end) break;
        until.delete(oldest);
      }
    },
  };
}
