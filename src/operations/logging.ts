import { randomUUID } from 'node:crypto';
import type { Request, RequestHandler } from 'express';
import { type DestinationStream, type Logger, pino } from 'pino';
import type { Config } from '../config.js';
import { RingError } from '../ring/errors.js';

/**
 * The process's log: JSON lines, or readable ones on a developer's terminal. Nothing secret gets in by construction:
 * what is logged of a request, an answer and an error is listed here, field by field.
 */
export function createLogger(
  { logLevel, production }: Pick<Config, 'logLevel' | 'production'>,
  destination?: DestinationStream,
): Logger {
  const options = { level: logLevel, base: null, serializers: { err: describeError } };
  if (destination !== undefined) return pino(options, destination);
  const isReadable = !production && process.stdout.isTTY && hasPrettyPrinter();
  return isReadable ? pino({ ...options, transport: { target: 'pino-pretty' } }) : pino(options);
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

declare module 'node:http' {
  interface ServerResponse {
    /** Why the answer is a 5xx, for the log. */
    err?: Error;
  }
}

/**
 * One line for each request, when it is over. Neither query strings nor headers nor bodies: that is where codes and nonces
 * travel. By hand, because pino-http made a webhook a fifth slower.
 */
export function requestLog(log: Logger): RequestHandler {
  return (request, response, next) => {
    const startedAt = performance.now();
    response.once('close', () => {
      const { err, statusCode: status } = response;
      const ms = Math.round(performance.now() - startedAt);
      // Only now is it known which route the request took.
      const line = { request: randomUUID(), method: request.method, path: pathOf(request), status, ms };
      if (isProbe(request)) log.trace(line, 'answered');
      else if (status < 500) log.info(line, 'answered');
      else log.error({ ...line, err }, 'failed');
    });
    next();
  };
}

/**
 * The path, if it is one of ours, without the IDs of devices. Of a mangled address only the first word: the rest may well
 * be a code or a nonce.
 */
function pathOf(request: Request): string {
  const { route } = request as { route?: unknown };
  const ours = route === undefined ? /^\/\w{0,20}/ : /^[\w./-]{0,200}/;
  const path = request.originalUrl.replace(/^\/devices\/[^/?]+/, '/devices/-');
  return ours.exec(path)?.[0] ?? '';
}

const isProbe = (request: Request): boolean => /^\/(livez|readyz|assets\/)/.test(request.originalUrl);

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
