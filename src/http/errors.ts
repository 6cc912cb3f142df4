import { STATUS_CODES } from 'node:http';
import type { ErrorRequestHandler, Request, RequestHandler, Response } from 'express';
import { isDatabaseUnavailable } from '../database/unavailable.js';
import { render } from './render.js';

interface HttpErrorOptions {
  /** Seconds after which the same request may succeed. */
  retryAfterSeconds?: number;
  headers?: Record<string, string>;
  /** What stands above it on a page, and what to do, step by step. By default as for others of its status. */
  heading?: string;
  steps?: readonly string[];
  cause?: unknown;
}

/** A response other than success. It is thrown anywhere and written in one place. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly headers: Record<string, string>;
  readonly heading: string | undefined;
  readonly steps: readonly string[] | undefined;

  /** @param detail what happened and what to do about it, in words for the sender of the request */
  constructor(
    readonly status: number,
    readonly detail: string,
    { retryAfterSeconds, headers, heading, steps, cause }: HttpErrorOptions = {},
  ) {
    super(detail, { cause });
    this.heading = heading;
    this.steps = steps;
    this.headers = { ...headers, ...(retryAfterSeconds !== undefined && { 'Retry-After': `${retryAfterSeconds}` }) };
  }
}

export const tooManyRequests = (retryAfterSeconds: number): HttpError =>
  new HttpError(429, 'That was too often in a short time. Please wait a little.', { retryAfterSeconds });

export const notFound: RequestHandler = () => {
  throw new HttpError(404, 'There is nothing at this address.');
};

/** The last handler of a route: refuses every method that the route does not know (405). */
export function methodNotAllowed(...allowed: string[]): RequestHandler {
  return (request) => {
    throw new HttpError(405, `This address can’t be used with ${request.method}.`, {
      headers: { Allow: allowed.join(', ') },
    });
  };
}

/** Answers programs with RFC 9457 problem details. */
export const problemDetails: ErrorRequestHandler = (error: unknown, request, response, _next) => {
  if (response.headersSent) {
    breakOff(error, response);
    return;
  }
  const { status, detail } = prepare(error, request, response);
  response
    .type('application/problem+json')
    .json({ type: 'about:blank', title: STATUS_CODES[status] ?? 'Error', status, detail });
};

/** Answers people with a page. */
export const errorPage: ErrorRequestHandler = (error: unknown, request, response, _next) => {
  if (response.headersSent) {
    breakOff(error, response);
    return;
  }
  const answer = prepare(error, request, response);
  const { status, detail } = answer;
  const heading =
    answer.heading ?? HEADINGS[status] ?? (status < 500 ? 'That didn’t work' : 'Something went wrong on our side');
  const reference = status < 500 ? null : response.requestId;
  render(response, 'error', {
    title: heading,
    status,
    reference,
    heading,
    message: detail,
    steps: [...stepsOf(answer)],
  });
};

/**
 * Ends a response whose head is sent already. Express itself would write the error to the console, with the rows and bodies
 * that drivers attach to their errors.
 */
function breakOff(error: unknown, response: Response): void {
  response.err = asError(error);
  response.destroy();
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error('not an Error was thrown'));

function prepare(error: unknown, request: Request, response: Response): HttpError {
  const answer = toHttpError(error);
  // The log line of this request tells the cause; see `requestLog`.
  if (answer.status >= 500) response.err = asError(error);
  if (!request.complete) response.set('Connection', 'close');
  response.status(answer.status).set(answer.headers).set('Cache-Control', 'no-store');
  return answer;
}

function toHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error;
  if (isDatabaseUnavailable(error)) {
    return new HttpError(503, 'The service is not available right now. Please try again in a moment.', {
      retryAfterSeconds: 5,
      cause: error,
    });
  }
  const { status } = error as { status?: unknown };
  if (typeof status === 'number' && status >= 400 && status < 500) {
    // Errors of Express' parsers and the CSRF check. Their messages may quote the request, so they are replaced.
    if (status === 403) return stalePage(error);
    return new HttpError(status, DETAILS[status] ?? 'The request is not valid.', { cause: error });
  }
  return new HttpError(500, 'The service could not answer. Please try again in a moment.', { cause: error });
}

/** The answer to a form of another session, or of none. */
const stalePage = (cause: unknown): HttpError =>
  new HttpError(403, 'This page was open for too long, or was opened in another window.', {
    heading: 'This page is out of date',
    steps: [
      'Go back, load the page again and try once more.',
      'If you came from the Ring app: go back there, open this app and tap Sign In again.',
    ],
    cause,
  });

const DETAILS: Partial<Record<number, string>> = {
  400: 'The request is malformed.',
  413: 'The request is too large.',
  415: 'The request has an encoding that is not supported.',
};

const HEADINGS: Partial<Record<number, string>> = {
  404: 'Page not found',
  429: 'Too many attempts',
  503: 'We’ll be right back',
};

function stepsOf({ status, headers, steps }: HttpError): readonly string[] {
  if (steps !== undefined) return steps;
  if (status !== 429) return STEPS[status] ?? [];
  const minutes = Math.ceil(Number(headers['Retry-After'] ?? 60) / 60);
  return [`Wait ${minutes === 1 ? 'a minute' : `${minutes} minutes`}.`, 'Then go back and try again.'];
}

const STEPS: Partial<Record<number, string[]>> = {
  404: ['Check the address, or go to your home page.'],
  405: ['Go to your home page, and find the way from there.'],
  413: ['Go back, make what you entered shorter, and try once more.'],
  415: ['Go back, load the page again and try once more.'],
  503: [
    'Wait a minute, then load this page again.',
    'If you came from the Ring app: go back there, open this app and tap Sign In again.',
  ],
};
