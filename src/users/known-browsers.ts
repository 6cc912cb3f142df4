import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Request, RequestHandler, Response } from 'express';

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace -- how @types/express lets a property be declared
  namespace Express {
    interface Request {
      /** What the browser is counted as, if somebody has signed in with it before. */
      knownBrowser?: string;
    }
  }
}

/**
 * Browsers in which somebody has signed in to an account before. They are counted apart from strangers, who therefore can't keep
 * the owner out, nor away from the form.
 *
 * The cookie has an entry for each account: an ID, which is an HMAC over its address, and our signature. Nobody else makes one,
 * and nobody reads from it which account it stands for. All browsers of an account have the same entry, so that signing in again
 * and again makes no more of them. It opens other counters, and nothing else.
 */
export interface KnownBrowsers {
  /** Says whether the request's browser is known, and remembers the browser of whoever is signed in. */
  middleware: RequestHandler;
  /** Whether somebody has signed in to this account with the request's browser. */
  knows(request: Request, email: string): boolean;
  /** Takes the account out of the cookie, because it is deleted. */
  forget(request: Request, response: Response, email: string): void;
}

export interface KnownBrowsersOptions {
  secret: string;
  production: boolean;
}

/** Browsers keep no cookie for longer than 400 days. */
const LIFETIME_MS = 365 * 24 * 60 * 60 * 1_000;
/** The accounts of one browser; the one that has signed in last comes first. */
const MOST_ACCOUNTS = 8;
/** The length of an ID and of a signature, in bytes. */
const BYTES = 16;

export function createKnownBrowsers({ secret, production }: KnownBrowsersOptions): KnownBrowsers {
  const name = production ? '__Host-known-browser' : 'known-browser';
  const options = { httpOnly: true, sameSite: 'lax', secure: production, path: '/' } as const;

  const hmac = (purpose: string, data: string | Buffer): Buffer =>
    createHmac('sha256', secret).update(`known browser: ${purpose}\0`).update(data).digest().subarray(0, BYTES);
  const idOf = (email: string): Buffer => hmac('account', email);

  /** The IDs in the cookie that we have signed. */
  function read(request: Request): Buffer[] {
    const cookies = (request.get('cookie') ?? '').split(/; */);
    const value = cookies.find((cookie) => cookie.startsWith(`${name}=`))?.slice(name.length + 1) ?? '';
    return value
      .split('.', MOST_ACCOUNTS)
      .map((entry) => Buffer.from(entry, 'base64url'))
      .filter((entry) => areEqual(entry.subarray(BYTES), hmac('signature', entry.subarray(0, BYTES))))
      .map((entry) => entry.subarray(0, BYTES));
  }

  function write(response: Response, ids: Buffer[]): void {
    const entries = ids.map((id) => Buffer.concat([id, hmac('signature', id)]).toString('base64url'));
    if (entries.length === 0) response.clearCookie(name, options);
    else response.cookie(name, entries.join('.'), { ...options, maxAge: LIFETIME_MS });
  }

  return {
    middleware(request, response, next) {
      const ids = read(request);
      const [first] = ids;
      if (first !== undefined) request.knownBrowser = first.toString('base64url');
      if (request.method === 'GET' && request.user !== undefined) {
        const own = idOf(request.user.email);
        if (!ids.some((id) => areEqual(id, own))) write(response, [own, ...ids].slice(0, MOST_ACCOUNTS));
      }
      next();
    },

    knows(request, email) {
      const wanted = idOf(email);
      return read(request).some((id) => areEqual(id, wanted));
    },

    forget(request, response, email) {
      const ids = read(request);
      const forgotten = idOf(email);
      if (ids.length === 0) return;
      write(
        response,
        ids.filter((id) => !areEqual(id, forgotten)),
      );
    },
  };
}

const areEqual = (one: Buffer, other: Buffer): boolean => one.length === other.length && timingSafeEqual(one, other);
