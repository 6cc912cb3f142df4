import type { Request, RequestHandler } from 'express';
import type { Knex } from 'knex';
import { Passport } from 'passport';
import { Strategy as LocalStrategy } from 'passport-local';
import { z } from 'zod';
import type { Passwords } from './passwords.js';
import { saveSession, SIGNED_IN_LIFETIME_MS } from './session.js';
import { Credentials, findUser, type User, verifyCredentials } from './users.js';

declare global {
  // eslint-disable-next-line @typescript-eslint/no-namespace -- how @types/express lets a user be declared
  namespace Express {
    interface User {
      id: string;
      email: string;
      credentialsVersion: number;
    }
  }
}

export interface Authentication {
  /** Sets `request.user` to the user who has signed in in this session. */
  middleware: RequestHandler[];
  /** The user with the `email` and `password` of the request's form, or undefined. */
  authenticate(request: Request): Promise<User | undefined>;
  /** Signs in under a new session id. Only the pending redirect is kept of the former session. */
  signIn(request: Request, user: User): Promise<void>;
  /** Signs out under a new session id, and keeps the pending redirect: another user may sign in to finish it. */
  signOut(request: Request): Promise<void>;
}

const UserId = z.uuid();

export function createAuthentication(db: Knex, passwords: Passwords): Authentication {
  const passport = new Passport();
  passport.use(
    new LocalStrategy({ usernameField: 'email', passwordField: 'password' }, (email, password, done) => {
      const credentials = Credentials.safeParse({ email, password });
      if (!credentials.success) {
        done(null, false);
        return;
      }
      verifyCredentials({ db, passwords }, credentials.data).then((user) => {
        done(null, user ?? false);
      }, done);
    }),
  );
  passport.serializeUser((user, done) => {
    done(null, user.id);
  });
  passport.deserializeUser((request: Request, id: unknown, done: (error: unknown, user?: User | false) => void) => {
    // Sessions that are older than this field have none.
    const { credentialsVersion = 0 } = request.session;
    findUser(db, UserId.parse(id)).then((user) => {
      done(null, user?.credentialsVersion === credentialsVersion && user);
    }, done);
  });

  return {
    middleware: [passport.initialize() as RequestHandler, passport.session() as RequestHandler],

    authenticate: async (request) => {
      // Passport reads a missing field from the query string, which the rate limit on the form's e-mail does not see.
      if (!Credentials.safeParse(request.body).success) return undefined;
      return promised<User>((done) => {
        const authenticate = passport.authenticate('local', done) as (request: Request) => void;
        authenticate(request);
      });
    },

    signIn: (request, user) =>
      keepingPendingRedirect(request, (done) => {
        request.login(user, (error) => {
          request.session.cookie.maxAge = SIGNED_IN_LIFETIME_MS;
          request.session.credentialsVersion = user.credentialsVersion;
          done(error);
        });
      }),

    signOut: (request) =>
      keepingPendingRedirect(request, (done) => {
        request.logout(done);
      }),
  };
}

/** Carries the pending redirect over Passport's new session: each sign-in and sign-out begins an empty one. */
async function keepingPendingRedirect(
  request: Request,
  change: (done: (error: unknown) => void) => void,
): Promise<void> {
  const { pendingLink } = request.session;
  await promised(change);
  if (pendingLink !== undefined) request.session.pendingLink = pendingLink;
  await saveSession(request);
}

function promised<Result>(
  call: (done: (error: unknown, result?: Result | false) => void) => void,
): Promise<Result | undefined> {
  return new Promise((resolve, reject) => {
    call((error, result) => {
      // Passport passes `false` for "no such user".
      if (error === null || error === undefined) resolve(result === false ? undefined : result);
      else reject(error instanceof Error ? error : new Error('passport failed', { cause: error }));
    });
  });
}
