import { types } from 'node:util';
import connectPgSimple from 'connect-pg-simple';
import type { Request, RequestHandler } from 'express';
import session, { type SessionData } from 'express-session';
import type { Knex } from 'knex';
import type { Pool } from 'pg';
import { run, sql } from '../database/sql.js';
import type { Tables } from '../database/tables.js';

declare module 'express-session' {
  interface SessionData {
    /** The user's as of the sign-in. The session has ended when the user's present one is another. */
    credentialsVersion?: number;
    /** The credential that was just changed, until the next page has said so. */
    changed?: 'email' | 'password';
    /** The redirect that this browser came with, sealed; see `linking/pending-redirect.ts`. */
    pendingLink?: string;
    /** True once the session is in the table; see `SessionStore`. */
    isStored?: boolean;
  }
}

/** Long enough to finish a link. Most anonymous sessions are bots, so it is no longer. */
const ANONYMOUS_LIFETIME_MS = 60 * 60 * 1_000;
export const SIGNED_IN_LIFETIME_MS = 7 * 24 * 60 * 60 * 1_000;
const PRUNE_INTERVAL_SECONDS = 15 * 60;

export interface SessionOptions {
  pool: Pool;
  secret: string;
  production: boolean;
  onError: (error: Error) => void;
}

/**
 * Browser sessions in Postgres. In production the cookie is `__Host-`: bound to this very host, over TLS only. TLS ends
 * at a proxy there, so `X-Forwarded-Proto` is believed. A client that forges it gains nothing: its browser won't send the
 * cookie back.
 */
export function createSessions({ pool, secret, production, onError }: SessionOptions): {
  middleware: RequestHandler;
  /** Those of the sessions that have neither ended nor expired. */
  standing: (ids: string[]) => Promise<Set<string>>;
  close: () => void;
} {
  const store = new (sessionStore(pool, onError))({
    pool,
    tableName: 'sessions',
    pruneSessionInterval: PRUNE_INTERVAL_SECONDS,
    errorLog: (...parts: unknown[]) => {
      onError(parts.find(types.isNativeError) ?? new Error(parts.map(String).join(' ')));
    },
  });
  const middleware = session({
    name: production ? '__Host-session' : 'session',
    secret,
    store,
    resave: false,
    saveUninitialized: false,
    proxy: production ? true : undefined,
    cookie: { httpOnly: true, sameSite: 'lax', secure: production, path: '/', maxAge: ANONYMOUS_LIFETIME_MS },
  });
  return {
    middleware,
    async standing(ids) {
      const { rows } = await pool.query<Pick<Tables['sessions'], 'sid'>>(
        sql`SELECT sid FROM sessions WHERE sid = ANY (${ids}) AND expire > now()`.numbered,
      );
      return new Set(rows.map(({ sid }) => sid));
    },
    close: () => {
      store.close();
    },
  };
}

/**
 * The library's store with updates in place of upserts: a session that is stored is never inserted again, and one that has
 * expired stays expired. Otherwise a request that outlives a sign-out would bring the ended session back.
 */
function sessionStore(pool: Pool, onError: (error: Error) => void) {
  return class SessionStore extends connectPgSimple(session) {
    /** A failure is only reported: the page has been answered already. */
    override touch(sid: string, data: SessionData, callback?: () => void): void {
      pool
        .query(sql`UPDATE sessions SET expire = ${expiryOf(data)} WHERE sid = ${sid} AND expire > now()`.numbered)
        .catch(onError)
        .finally(() => callback?.());
    }

    override set(sid: string, data: SessionData, callback?: (error?: unknown) => void): void {
      if (data.isStored !== true) {
        super.set(sid, { ...data, isStored: true }, callback);
        return;
      }
      pool
        .query(
          sql`UPDATE sessions SET sess = ${JSON.stringify(data)}, expire = ${expiryOf(data)}
               WHERE sid = ${sid} AND expire > now()`.numbered,
        )
        .then(
          () => callback?.(),
          (error: unknown) => callback?.(error),
        );
    }
  };
}

function expiryOf({ cookie }: SessionData): Date {
  return new Date(Date.now() + (cookie.originalMaxAge ?? ANONYMOUS_LIFETIME_MS));
}

/**
 * Ends the sessions of a user, all or all but one, in the caller's transaction. A session that a concurrent sign-in has not
 * committed yet is missed. It ends all the same if the transaction changes the user's credentials.
 */
export async function endSessions(
  trx: Knex.Transaction,
  userId: string,
  { except = null }: { except?: string | null } = {},
): Promise<void> {
  await run(
    trx,
    sql`DELETE FROM sessions WHERE sess #>> '{passport,user}' = ${userId} AND sid IS DISTINCT FROM ${except}`,
  );
}

/** Stores the session now, instead of at the end of the response. */
export function saveSession(request: Request): Promise<void> {
  return new Promise((resolve, reject) => {
    request.session.save((error: unknown) => {
      if (error === null || error === undefined) resolve();
      else reject(error instanceof Error ? error : new Error('the session could not be stored', { cause: error }));
    });
  });
}

/** Replaces the session by an empty one under a new id. */
export function newSession(request: Request): Promise<void> {
  return new Promise((resolve, reject) => {
    request.session.regenerate((error: unknown) => {
      if (error === null || error === undefined) resolve();
      else reject(error instanceof Error ? error : new Error('the session could not be renewed', { cause: error }));
    });
  });
}
