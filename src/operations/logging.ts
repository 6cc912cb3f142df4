import { randomUUID } from 'node:crypto';
import type { Request, RequestHandler } from 'express';
import { type DestinationStream, type Logger, pino } from 'pino';
import type { Config } from '../configuration/config.js';
import { currentRequestId, onBehalfOf } from '../request-id.js';
import { RingError } from '../ring/errors.js';

/**
 * The process's log: JSON lines, or readable ones on a developer's terminal. Nothing secret gets in by construction: the
 * fields of a request, a response and an error that are logged are listed here one by one.
 */
export function createLogger(
  { logLevel, production }: Pick<Config, 'logLevel' | 'production'>,
  destination?: DestinationStream,
): Logger {
  const options = {
    level: logLevel,
    base: null,
    serializers: { err: errorFields, account: shorten },
    mixin: () => ({ request: currentRequestId() }),
  };
  if (destination !== undefined) return pino(options, destination);
  const isReadable = !production && process.stdout.isTTY && hasPrettyPrinter();
  return isReadable ? pino({ ...options, transport: { target: 'pino-pretty' } }) : pino(options);
}

/** The end of a Ring account's ID: enough to find its lines again, and too little to be the ID. */
function shorten(accountId: unknown): string {
  return `…${String(accountId).slice(-6)}`;
}

/** Whether the printer is installed. It is a development dependency, which production images lack. */
function hasPrettyPrinter(): boolean {
  try {
    import.meta.resolve('pino-pretty');
    return true;
  } catch {
    return false;
  }
}

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace -- the only way to add fields to a response
  namespace Express {
    interface Response {
      /** The id in the log lines of the request, in its jobs, and in its calls to Ring. */
      requestId: string;
      /** The cause of a 5xx. */
      err?: Error;
    }
  }
}

/**
 * Gives each request its id, and logs one line for it when it is over. Query strings, headers and bodies are never logged,
 * because codes and nonces travel there.
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
          // Read now: the route is known only after the routers have run.
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
 * The path without the IDs of devices, if it is one of ours. An unknown path is cut to its first word, because the rest of a
 * mangled address may be a code or a nonce.
 */
function pathOf(request: Request): string {
  const { route } = request as { route?: unknown };
  const ours = route === undefined ? /^\/[\w-]{0,20}/ : /^[\w./-]{0,200}/;
  const path = request.originalUrl.replace(/^\/devices\/[^/?]+/, '/devices/-');
  return ours.exec(path)?.[0] ?? '';
}

const isProbe = (request: Request): boolean => /^\/(livez|readyz|metrics|assets\/)/.test(request.originalUrl);

interface ErrorFields {
  type: string;
  message: string;
  code?: unknown;
  stack?: string | undefined;
  cause?: ErrorFields;
}

/** The fields of an error that are logged. Others are left out, because drivers attach rows and bodies to their errors. */
function errorFields(error: unknown): ErrorFields | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as { code?: unknown };
  const cause = errorFields(error.cause);
  return {
    type: error.name,
    message: error.message,
    ...(code !== undefined && { code }),
    // No stack for a failed call to Ring: it is no fault of the code, and its message names the call.
    ...(!(error instanceof RingError) && { stack: error.stack }),
    ...(cause && { cause }),
  };
}
