import connectPgSimple from 'connect-pg-simple';
import type { Request, RequestHandler } from 'express';
import session from 'express-session';
import type { Pool } from 'pg';

declare module 'express-session' {
  interface SessionData {
    /** The link that this browser came for, sealed; see `linking/pending-link.ts`. */
    pendingLink?: string;
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
  onError: (message: string) => void;
}

/**
 * Browser sessions in Postgres. In production the cookie is `__Host-`: bound to this very host, over TLS only. TLS ends
 * at a proxy there, so the proxy's word that it did is taken; a client that lies about it only gets a cookie that its own
 * browser won't send back.
 */
export function createSessions({ pool, secret, production, onError }: SessionOptions): {
  middleware: RequestHandler;
  close: () => void;
} {
  const PostgresStore = connectPgSimple(session);
  const store = new PostgresStore({
    pool,
    tableName: 'sessions',
    pruneSessionInterval: PRUNE_INTERVAL_SECONDS,
    errorLog: (...parts: unknown[]) => {
      onError(parts.map(String).join(' '));
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
    close: () => {
      store.close();
    },
  };
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
