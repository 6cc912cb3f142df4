/** The bytes that a request wants, first and last included, or that it wants some beyond the end. */
export type WantedBytes = { kind: 'whole' } | { kind: 'part'; first: number; last: number } | { kind: 'beyond' };

/**
 * Reads a `Range` header (RFC 9110, 14.2). What is malformed, or names several ranges, is ignored, as a server may.
 *
 * @param size of the whole in bytes; undefined when it is not known, and no range can be told
 */
export function readRange(header: string | undefined, size: number | undefined): WantedBytes {
  const [, from, to] = /^bytes=(\d{1,15})?-(\d{1,15})?$/i.exec(header?.trim() ?? '') ?? [];
  if (size === undefined || (from === undefined && to === undefined)) return { kind: 'whole' };
  if (from === undefined) {
    const length = Math.min(Number(to), size);
    return length === 0 ? { kind: 'beyond' } : { kind: 'part', first: size - length, last: size - 1 };
  }
  const first = Number(from);
  const last = to === undefined ? size - 1 : Math.min(Number(to), size - 1);
  if (to !== undefined && Number(to) < first) return { kind: 'whole' };
  return first >= size ? { kind: 'beyond' } : { kind: 'part', first, last };
}

/**
 * The bytes from `first` to `last` of a stream, both included. What comes before them is read and dropped, and the stream is
 * ended after them.
 *
 * @throws when the stream ends earlier
 */
export async function* sliceOf(
  stream: AsyncIterable<Uint8Array>,
  first: number,
  last: number,
): AsyncGenerator<Uint8Array> {
  let position = 0;
  for await (const chunk of stream) {
    const piece = chunk.subarray(Math.max(0, first - position), last + 1 - position);
    position += chunk.length;
    if (position > first && piece.length > 0) yield piece;
    if (position > last) return;
  }
  throw new Error(`a stream ended after ${position} bytes, before the last one that was wanted`);
}
