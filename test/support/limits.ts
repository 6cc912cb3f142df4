/**
 * How many times slower this machine is than one of ordinary speed with nothing else to do; 1 at least. Measured by the
 * global setup. No test depends on it but in how long it may hang, and in how long the app waits for what does not come.
 */
const slowness = Number(process.env.TEST_SLOWNESS ?? 1);

/** A time in ms as this machine needs it for what an ordinary one does in `ms`. */
export const scaled = (ms: number): number => Math.round(ms * slowness);

/** How long anything may take that a test waits for, in ms. Far more than it takes: it is there to report what hangs. */
export const WAIT_LIMIT_MS = scaled(90_000);
