import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { RequestHandler } from 'express';
import { type DestinationStream, type Logger, pino } from 'pino';
import { pinoHttp } from 'pino-http';
import type { Config } from '../config.js';

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

/** One line for each request. Neither query strings nor headers nor bodies: that is where codes and nonces travel. */
export function requestLog(log: Logger): RequestHandler {
  return pinoHttp({
    logger: log,
    genReqId: () => randomUUID(),
    quietReqLogger: true,
    customAttributeKeys: { reqId: 'request' },
    wrapSerializers: false,
    serializers: {
      req: (request: IncomingMessage) => ({ method: request.method, path: pathOf(request) }),
      res: (response: ServerResponse) => response.statusCode,
      err: describeError,
    },
    customLogLevel: (request, response) => {
      if (response.statusCode >= 500) return 'error';
      return isProbe(request) ? 'trace' : 'info';
    },
    customSuccessMessage: () => 'answered',
    customErrorMessage: () => 'failed',
  });
}

/** Up to the first character that no path of ours has, and no segment as long as a nonce: a mangled address holds one. */
function pathOf(request: IncomingMessage): string {
  const url = (request as IncomingMessage & { originalUrl?: string }).originalUrl ?? request.url ?? '';
  const [path = ''] = /^[\w./-]{0,200}/.exec(url) ?? [];
  return path.replace(/[^/]{40,}/g, '…');
}

const isProbe = (request: IncomingMessage): boolean => /^\/(livez|readyz|assets\/)/.test(pathOf(request));

interface ErrorDescription {
  type: string;
  message: string;
  code?: unknown;
  stack: string | undefined;
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
    stack: error.stack,
    ...(cause && { cause }),
  };
}
