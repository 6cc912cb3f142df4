import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Request, RequestHandler, Response } from 'express';

/**
 * Browsers in which somebody has signed in to an account before. Guesses made there are counted apart from those of strangers,
 * who therefore can't keep the owner out.
 *
 * The cookie is an ID of the browser, with a tag for each account: an HMAC over both. Without our key nobody makes a tag, and
 * nobody reads from one which account it stands for. What the cookie opens is another counter, and nothing else.
 */
export interface KnownBrowsers {
  /** Remembers the browser of whoever is signed in, whenever one of their pages is shown. */
  middleware: RequestHandler;
  /** The ID of the browser if it is known for this account. */
  idFor(request: Request, email: string): string | undefined;
  /** Takes the account out of the cookie, because it is deleted. */
  forget(request: Request, response: Response, email: string): void;
}

export interface KnownBrowsersOptions {
  secret: string;
  production: boolean;
}

/** Browsers keep no cookie for longer than 400 days. */
const LIFETIME_MS = 365 * 24 * 60 * 60 * 1_000;
/** The accounts of one browser; the one that signed in last comes first. */
const MOST_ACCOUNTS = 8;
const ID = /^[\w-]{22}$/;
const TAG_BYTES = 16;

interface Known {
  id: string;
  tags: Buffer[];
}

export function createKnownBrowsers({ secret, production }: KnownBrowsersOptions): KnownBrowsers {
  const name = production ? '__Host-known-browser' : 'known-browser';
  const options = { httpOnly: true, sameSite: 'lax', secure: production, path: '/' } as const;

  const tagOf = (id: string, email: string): Buffer =>
    createHmac('sha256', secret).update(`known browser\0${id}\0${email}`).digest().subarray(0, TAG_BYTES);

  function read(request: Request): Known | undefined {
    const cookies = (request.get('cookie') ?? '').split(/; */);
    const value = cookies.find((cookie) => cookie.startsWith(`${name}=`))?.slice(name.length + 1);
    const [id, ...tags] = (value ?? '').split('.');
    if (id === undefined || !ID.test(id)) return undefined;
    return { id, tags: tags.slice(0, MOST_ACCOUNTS).map((tag) => Buffer.from(tag, 'base64url')) };
  }

  function write(response: Response, { id, tags }: Known): void {
    const value = [id, ...tags.map((tag) => tag.toString('base64url'))].join('.');
    response.cookie(name, value, { ...options, maxAge: LIFETIME_MS });
  }

  function idFor(request: Request, email: string): string | undefined {
    const known = read(request);
    if (known === undefined) return undefined;
    const tag = tagOf(known.id, email);
    return known.tags.some((one) => areEqual(one, tag)) ? known.id : undefined;
  }

  return {
    idFor,

    middleware(request, response, next) {
      const email = request.method === 'GET' ? request.user?.email : undefined;
      if (email !== undefined && idFor(request, email) === undefined) {
        const known = read(request) ?? { id: randomBytes(16).toString('base64url'), tags: [] };
        write(response, { id: known.id, tags: [tagOf(known.id, email), ...known.tags].slice(0, MOST_ACCOUNTS) });
      }
      next();
    },

    forget(request, response, email) {
      const known = read(request);
      if (known === undefined) return;
      const tag = tagOf(known.id, email);
      const others = known.tags.filter((one) => !areEqual(one, tag));
      if (others.length === 0) response.clearCookie(name, options);
      else write(response, { id: known.id, tags: others });
    },
  };
}

const areEqual = (one: Buffer, other: Buffer): boolean => one.length === other.length && timingSafeEqual(one, other);
