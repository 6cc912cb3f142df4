/**
 * The factor by which this machine is slower than one of ordinary speed with nothing else to do; 1 at least. The global
 * setup measures it. Tests use it only as a limit for what hangs, and for how long the app waits for an answer that
 * does not come.
 */
const slowness = Number(process.env.TEST_SLOWNESS ?? 1);

/** The time in ms in which this machine does what an ordinary one does in `ms`. */
export const scaled = (ms: number): number => Math.round(ms * slowness);

/**
 * The longest time in ms that a test waits for anything. It is far more than anything takes, and only reports what
 * hangs.
 */
export const WAIT_LIMIT_MS = scaled(90_000);
