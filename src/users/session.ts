import { types } from 'node:util';
import connectPgSimple from 'connect-pg-simple';
import type { Request, RequestHandler } from 'express';
import session, { type SessionData } from 'express-session';
import type { Knex } from 'knex';
import type { Pool } from 'pg';

declare module 'express-session' {
  interface SessionData {
    /** Of the user who has signed in here, as it was then: after a change of e-mail or password, the session has ended. */
    credentialsVersion?: number;
    /** What has just been changed, for the page that comes next to say so. */
    changed?: 'email' | 'password';
    /** The link that this browser came for, sealed; see `linking/pending-link.ts`. */
    pendingLink?: string;
    /** Set in the table from the first time on; see `SessionStore`. */
    isStored?: boolean;
  }
}

/** Long enough to finish a link; most of those who never sign in are no people. */
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
 * at a proxy there, so the proxy's word that it did is taken; a client that lies about it only gets a cookie that its own
 * browser won't send back.
 */
export function createSessions({ pool, secret, production, onError }: SessionOptions): {
  middleware: RequestHandler;
  /** Which of these sessions have neither ended nor expired. */
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
      const { rows } = await pool.query<{ sid: string }>(
        'SELECT sid FROM sessions WHERE sid = ANY($1) AND expire > now()',
        [ids],
      );
      return new Set(rows.map(({ sid }) => sid));
    },
    close: () => {
      store.close();
    },
  };
}

/**
 * A session that was stored before is only ever changed, never made again, and one that has expired stays so: a request
 * that outlives a sign-out would otherwise bring the ended session back as it ends itself.
 */
function sessionStore(pool: Pool, onError: (error: Error) => void) {
  return class SessionStore extends connectPgSimple(session) {
    /** That a session can't be kept alive for longer is no reason to fail: the page has been answered. */
    override touch(sid: string, data: SessionData, callback?: () => void): void {
      pool
        .query('UPDATE sessions SET expire = $2 WHERE sid = $1 AND expire > now()', [sid, expiryOf(data)])
        .catch(onError)
        .finally(() => callback?.());
    }

    override set(sid: string, data: SessionData, callback?: (error?: unknown) => void): void {
      if (data.isStored !== true) {
        super.set(sid, { ...data, isStored: true }, callback);
        return;
      }
      pool
        .query('UPDATE sessions SET sess = $2, expire = $3 WHERE sid = $1 AND expire > now()', [
          sid,
          JSON.stringify(data),
          expiryOf(data),
        ])
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
 * Ends the sessions of a user, all or all but one, in the caller's transaction. One that a sign-in is only just making
 * is not seen; it has ended too when the transaction has changed the user's credentials.
 */
export async function endSessions(trx: Knex, userId: string, { except }: { except?: string } = {}): Promise<void> {
  await trx.raw(`DELETE FROM sessions WHERE sess #>> '{passport,user}' = ? AND sid IS DISTINCT FROM ?`, [
    userId,
    except ?? null,
  ]);
}

/** Stores the session now, and not only as the answer ends. */
export function saveSession(request: Request): Promise<void> {
  return new Promise((resolve, reject) => {
    request.session.save((error: unknown) => {
      if (error === null || error === undefined) resolve();
      else reject(error instanceof Error ? error : new Error('the session could not be stored', { cause: error }));
    });
  });
}

/** An empty session under a new id. */
export function newSession(request: Request): Promise<void> {
  return new Promise((resolve, reject) => {
    request.session.regenerate((error: unknown) => {
      if (error === null || error === undefined) resolve();
      else reject(error instanceof Error ? error : new Error('the session could not be renewed', { cause: error }));
    });
  });
}
