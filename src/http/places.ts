import type { Network } from './networks.js';

/** How much of something may be open in this process at once. */
export interface PlaceBounds {
  ofUser: number;
  /** For all users of one network, so that no network takes every place. */
  ofNetwork: number;
  ofProcess: number;
}

export type FullBound = keyof PlaceBounds;

export interface Places {
  /** Takes a place. @returns what gives it back, once; or which bound is reached */
  take(userId: string, network: Network): (() => void) | FullBound;
  /** How many are taken. */
  taken(): number;
}

/** Counts what stays open for long: streams, downloads. */
export function createPlaces({ ofUser, ofNetwork, ofProcess }: PlaceBounds): Places {
  const counts = new Map<string, number>();
  let all = 0;
  const countOf = (key: string): number => counts.get(key) ?? 0;
  const add = (key: string, difference: 1 | -1): void => {
    const count = countOf(key) + difference;
    if (count === 0) counts.delete(key);
    else counts.set(key, count);
  };
  return {
    take(userId, { own }) {
      const keys = [`user ${userId}`, `network ${own}`] as const;
      if (countOf(keys[0]) >= ofUser) return 'ofUser';
      if (all >= ofProcess) return 'ofProcess';
      if (countOf(keys[1]) >= ofNetwork) return 'ofNetwork';
      all += 1;
      for (const key of keys) add(key, 1);
      let isTaken = true;
      return () => {
        if (!isTaken) return;
        isTaken = false;
        all -= 1;
        for (const key of keys) add(key, -1);
      };
    },
    taken: () => all,
  };
}
