import { randomUUID } from 'node:crypto';
import type { Request, RequestHandler } from 'express';
import { type DestinationStream, type Logger, pino } from 'pino';
import type { Config } from '../configuration/config.js';
import { currentRequestId, onBehalfOf } from '../request-id.js';
import { RingError } from '../ring/errors.js';

/**
 * The process's log: JSON lines, or readable ones on a developer's terminal. Nothing secret gets in by construction:
 * what is logged of a request, an answer and an error is listed here, field by field.
 */
export function createLogger(
  { logLevel, production }: Pick<Config, 'logLevel' | 'production'>,
  destination?: DestinationStream,
): Logger {
  const options = {
    level: logLevel,
    base: null,
    serializers: { err: describeError, account: shorten },
    mixin: () => ({ request: currentRequestId() }),
  };
  if (destination !== undefined) return pino(options, destination);
  const isReadable = !production && process.stdout.isTTY && hasPrettyPrinter();
  return isReadable ? pino({ ...options, transport: { target: 'pino-pretty' } }) : pino(options);
}

/** Enough of a Ring account's ID to find its lines again, and too little to be the ID. */
function shorten(accountId: unknown): string {
  return `…${String(accountId).slice(-6)}`;
}

/** A development dependency: an image for production does without. */
function hasPrettyPrinter(): boolean {
  try {
    import.meta.resolve('pino-pretty');
    return true;
  } catch {
    return false;
  }
}

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace -- the only way to name what an answer carries
  namespace Express {
    interface Response {
      /** What is done and logged on behalf of the request. */
      requestId: string;
      /** Why the answer is a 5xx. */
      err?: Error;
    }
  }
}

/**
 * Gives each request its id, and logs one line for it when it is over. Neither query strings nor headers nor bodies: that is where codes and nonces
 * travel.
 */
export function requestLog(log: Logger): RequestHandler {
  return (request, response, next) => {
    const startedAt = performance.now();
    response.requestId = randomUUID();
    response.set('X-Request-Id', response.requestId);
    response.once('close', () => {
      const { requestId, err, statusCode, writableFinished } = response;
      log[levelOf(request, statusCode)](
        {
          request: requestId,
          method: request.method,
          // Only at the end is it known which route the request took.
          path: pathOf(request),
          status: statusCode,
          ms: Math.round(performance.now() - startedAt),
          ...(err && { err }),
        },
        writableFinished ? (err === undefined ? 'answered' : 'failed') : 'given up by the client',
      );
    });
    onBehalfOf(response.requestId, next);
  };
}

function levelOf(request: Request, status: number): 'trace' | 'info' | 'error' {
  if (isProbe(request)) return 'trace';
  return status >= 500 ? 'error' : 'info';
}

/**
 * The path, if it is one of ours, without the IDs of devices. Of a mangled address only the first word: the rest may well
 * be a code or a nonce.
 */
function pathOf(request: Request): string {
  const { route } = request as { route?: unknown };
  const ours = route === undefined ? /^\/[\w-]{0,20}/ : /^[\w./-]{0,200}/;
  const path = request.originalUrl.replace(/^\/devices\/[^/?]+/, '/devices/-');
  return ours.exec(path)?.[0] ?? '';
}

const isProbe = (request: Request): boolean => /^\/(livez|readyz|metrics|assets\/)/.test(request.originalUrl);

interface ErrorDescription {
  type: string;
  message: string;
  code?: unknown;
  stack?: string | undefined;
  cause?: ErrorDescription;
}

/** The named fields only: drivers hang rows and bodies on their errors. */
function describeError(error: unknown): ErrorDescription | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as { code?: unknown };
  const cause = describeError(error.cause);
  return {
    type: error.name,
    message: error.message,
    ...(code !== undefined && { code }),
    // A failed call to Ring is no mistake of the code's, and its message says which call it was.
    ...(!(error instanceof RingError) && { stack: error.stack }),
    ...(cause && { cause }),
  };
}
