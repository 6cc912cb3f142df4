import type { IncomingMessage } from 'node:http';
import { HttpError } from './errors.js';

export interface BodyLimits {
  /** The most bytes of one body. */
  limit: number;
  /** The most bytes of all bodies that are held at once. */
  mostHeld: number;
  /** The most of them that are of one sender, so that nobody takes all the room. */
  mostHeldOfSender: number;
}

/** The sender has hung up in the middle of its request, so there is nobody to answer. */
export class HungUpError extends Error {
  override readonly name = 'HungUpError';
}

export interface Bodies {
  /**
   * Reads a body as it was sent, and counts it as held until it was used.
   *
   * @param sender who is counted
   * @throws {HttpError} 413 when it is too large, 415 when it is compressed, 503 when too much is held already. What is left of
   *   it is read all the same, and dropped: a sender that is cut off does not see the answer.
   * @throws {HungUpError}
   */
  use<Result>(request: IncomingMessage, sender: string, use: (body: Buffer) => Promise<Result>): Promise<Result>;
}

/** Reads the bodies of requests as raw bytes, within bounds for each and for all. */
export function createBodies({ limit, mostHeld, mostHeldOfSender }: BodyLimits): Bodies {
  let held = 0;
  const heldOf = new Map<string, number>();
  const hold = (sender: string, bytes: number): void => {
    held += bytes;
    const ofSender = (heldOf.get(sender) ?? 0) + bytes;
    if (ofSender === 0) heldOf.delete(sender);
    else heldOf.set(sender, ofSender);
  };
  return {
    async use(request, sender, use) {
      let size = 0;
      const take = (bytes: number): HttpError | undefined => {
        if (size + bytes > limit) return new HttpError(413, 'The request is too large.');
        if (held + bytes > mostHeld || (heldOf.get(sender) ?? 0) + bytes > mostHeldOfSender) return tooMuchHeld();
        size += bytes;
        hold(sender, bytes);
        return undefined;
      };
      try {
        return await use(await read(request, take));
      } finally {
        hold(sender, -size);
      }
    },
  };
}

const tooMuchHeld = (): HttpError =>
  new HttpError(503, 'Too much is being received at this moment. Please send it again.', { retryAfterSeconds: 5 });

/** @param take asks for room for some bytes. Returns why there is none. */
function read(request: IncomingMessage, take: (bytes: number) => HttpError | undefined): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const encoding = request.headers['content-encoding'] ?? 'identity';
    let problem =
      encoding.toLowerCase() === 'identity' ? undefined : new HttpError(415, 'The request must not be compressed.');
    request.on('data', (chunk: Buffer) => {
      problem ??= take(chunk.length);
      if (problem === undefined) chunks.push(chunk);
      else chunks.length = 0;
    });
    request.once('end', () => {
      const [first = Buffer.alloc(0), ...more] = chunks;
      if (problem !== undefined) reject(problem);
      else resolve(more.length === 0 ? first : Buffer.concat(chunks));
    });
    const hungUp = () => {
      reject(new HungUpError('the sender has hung up'));
    };
    request.once('error', hungUp).once('close', hungUp);
  });
}
