import { type Request, type RequestHandler, type Response, Router } from 'express';
import type { Knex } from 'knex';
import { z } from 'zod';
import { methodNotAllowed } from '../http/errors.js';
import { type IsWelcome, limitNetwork, type RateLimits } from '../http/rate-limits.js';
import { seeOther } from '../http/see-other.js';
import type { Clock } from '../time/clock.js';
import type { Authentication } from './authentication.js';
import { csrfProtection } from './csrf.js';
import type { Guesses } from './guesses.js';
import { orBusy, PasswordsBusy, prepareBusy } from './passwords-busy.js';
import type { Passwords } from './passwords.js';
import { createUser, Credentials, NewUser } from './users.js';

/** Why the user signs in: to link a Ring account, or to visit the home page. */
export type Intent = 'link' | 'home';

/** An error message beside a form. */
export interface FormError {
  form: 'sign-in' | 'sign-up';
  field?: 'email' | 'password';
  message: string;
}

export interface UserRoutesOptions {
  db: Knex;
  clock: Clock;
  authentication: Authentication;
  passwords: Passwords;
  limits: Pick<RateLimits, 'signUpAddress'>;
  guesses: Guesses;
  isWelcome: IsWelcome;
  /** Answers a user who has just signed in. */
  proceed: (request: Request, response: Response, intent: Intent) => Promise<void>;
  /** Shows the page with the forms again. */
  showForms: (request: Request, response: Response, intent: Intent, email: string, error: FormError) => Promise<void>;
}

/** The raw form: anything but a text of reasonable size reads as empty. */
const Form = z.object({
  email: z.string().max(1_000).catch(''),
  password: z.string().catch(''),
  intent: z.enum(['link', 'home']).catch('home'),
});

/** Does not tell an unknown e-mail from a wrong password. */
const WRONG_CREDENTIALS = 'The email address or the password is not right. Check both and try again.';
const EMAIL_TAKEN = 'There is already an account with this email address. Sign in with it instead.';

/** Sign-in, sign-up and sign-out: forms that carry `email`, `password` and `intent`. */
export function userRoutes(options: UserRoutesOptions): Router {
  const { db, clock, authentication, passwords, limits, guesses, isWelcome, proceed, showForms } = options;
  const router = Router();

  router.post('/sign-in', csrfProtection, async (request, response) => {
    const { email, intent } = Form.parse(request.body);
    const credentials = Credentials.safeParse(request.body).data;
    const guess = await guesses.atSignIn(request, credentials?.email);
    const user = credentials && (await orBusy(authentication.authenticate(request)));
    if (user instanceof PasswordsBusy) {
      // The guess was not looked at. Trying again must not use up those that a user has.
      await guess.takeBack();
      prepareBusy(response, user);
      await showForms(request, response, intent, email, { form: 'sign-in', message: user.detail });
      return;
    }
    if (user === undefined) {
      response.status(401);
      await showForms(request, response, intent, email, { form: 'sign-in', message: WRONG_CREDENTIALS });
      return;
    }
    await guess.right();
    await authentication.signIn(request, user);
    await proceed(request, response, intent);
  });

  router.post('/sign-up', csrfProtection, limitNetwork(limits.signUpAddress, isWelcome), async (request, response) => {
    const { email, password, intent } = Form.parse(request.body);
    const newUser = NewUser.safeParse({ email, password });
    if (!newUser.success) {
      const [issue] = newUser.error.issues;
      const field = issue?.path[0] === 'email' ? 'email' : 'password';
      response.status(400);
      await showForms(request, response, intent, email, { form: 'sign-up', field, message: issue?.message ?? '' });
      return;
    }
    const user = await orBusy(createUser({ db, passwords, clock }, newUser.data));
    if (user instanceof PasswordsBusy) {
      prepareBusy(response, user);
      await showForms(request, response, intent, email, { form: 'sign-up', message: user.detail });
      return;
    }
    if (user === undefined) {
      response.status(409);
      await showForms(request, response, intent, email, { form: 'sign-up', field: 'email', message: EMAIL_TAKEN });
      return;
    }
    await authentication.signIn(request, user);
    await proceed(request, response, intent);
  });

  router.post('/sign-out', unlessSignedOut, csrfProtection, async (request, response) => {
    const { intent } = Form.parse(request.body);
    if (intent !== 'link') delete request.session.pendingLink;
    await authentication.signOut(request);
    seeOther(response, intent === 'link' ? '/ring/link' : '/ring/home');
  });

  // A failed form leaves its address in the browser. Reloading it should lead back to the form.
  router.get(['/sign-in', '/sign-up', '/sign-out'], (request, response) => {
    seeOther(response, request.session.pendingLink === undefined ? '/ring/home' : '/ring/link');
  });
  router.all(['/sign-in', '/sign-up', '/sign-out'], methodNotAllowed('POST'));
  return router;
}

/** A user who is signed out already, perhaps in another tab, has no CSRF token any more, and is sent on all the same. */
const unlessSignedOut: RequestHandler = (request, response, next) => {
  if (request.user !== undefined) next();
  else seeOther(response, request.session.pendingLink === undefined ? '/ring/home' : '/ring/link');
};
