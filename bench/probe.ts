/** Loaded into a measured process before its own code. It tells the bench how much memory the process holds. */
export interface Memory {
  /** Bytes. */
  rss: number;
  /** Bytes, after a collection. */
  heap: number;
}

process.on('message', () => {
  globalThis.gc?.();
  const { rss, heapUsed: heap } = process.memoryUsage();
  process.send?.({ rss, heap } satisfies Memory);
});
// The channel alone must not keep the process alive.
process.channel?.unref();
