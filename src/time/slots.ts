/** Lets so many through at a time, in the order in which they came. */
export interface Slots {
  /** Waits for a slot. @returns gives it back */
  enter(): Promise<() => void>;
  waiting(): number;
  isIdle(): boolean;
}

export function createSlots(most: number): Slots {
  const queue: (() => void)[] = [];
  let taken = 0;
  const leave = () => {
    const next = queue.shift();
    // The slot goes over to the next one, so that nobody gets in between.
    if (next === undefined) taken -= 1;
    else next();
  };
  return {
    async enter() {
      if (taken < most) taken += 1;
      else await new Promise<void>((resolve) => queue.push(resolve));
      return leave;
    },
    waiting: () => queue.length,
    isIdle: () => taken === 0,
  };
}
