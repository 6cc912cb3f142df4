/** Loaded into a measured process before its own code. It tells the bench how much the process holds and has used. */
export interface Usage {
  /** Bytes. */
  rss: number;
  /** Bytes, after a collection. */
  heap: number;
  /** The processor time of all its threads so far, in µs, without that of this collection. */
  cpu: number;
}

/** The processor time of the collections that were asked for, in µs. */
let ofCollections = 0;

process.on('message', () => {
  const { user, system } = process.cpuUsage();
  globalThis.gc?.();
  const { rss, heapUsed: heap } = process.memoryUsage();
  process.send?.({ rss, heap, cpu: user + system - ofCollections } satisfies Usage);
  const after = process.cpuUsage();
  ofCollections += after.user + after.system - user - system;
});
// The channel alone must not keep the process alive.
process.channel?.unref();
