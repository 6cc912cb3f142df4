import { type Request, type RequestHandler, type Response, Router } from 'express';
import { z } from 'zod';
import type { Core } from '../core.js';
import type { Database } from '../database/database.js';
import { HttpError, methodNotAllowed } from '../http/errors.js';
import { networkOf } from '../http/networks.js';
import { limitCaller, type RateLimits } from '../http/rate-limits.js';
import { render } from '../http/render.js';
import { seeOther } from '../http/see-other.js';
import type { Authentication } from '../users/authentication.js';
import { csrfProtection, csrfToken } from '../users/csrf.js';
import { signedInOrHome, userOf } from '../users/current-user.js';
import type { Guesses } from '../users/guesses.js';
import type { KnownBrowsers } from '../users/known-browsers.js';
import { orBusy, PasswordsBusy, prepareBusy } from '../users/passwords-busy.js';
import type { Passwords } from '../users/passwords.js';
import { saveSession } from '../users/session.js';
import { NewEmail, NewPassword, type User, verifyPassword } from '../users/users.js';
import { changeEmail, changePassword, type Changed } from './change-credentials.js';
import { deleteUser } from './delete-user.js';
import { createDownloads, type Download } from './download.js';

export interface AccountPageOptions extends Pick<Core, 'db' | 'ring' | 'tokens' | 'clock' | 'log'> {
  database: Database;
  authentication: Authentication;
  passwords: Passwords;
  limits: RateLimits;
  guesses: Guesses;
  knownBrowsers: KnownBrowsers;
}

declare module '../http/render.js' {
  interface Views {
    account: {
      title: string;
      csrfToken: string;
      email: string;
      changed: 'email' | 'password' | null;
      confirmation: string;
      problem: AccountProblem | null;
    };
    'account-deleted': { title: string };
  }
}

const PATH = '/account';

/** An error message beside a field of one of the forms. */
export interface AccountProblem {
  form: 'email' | 'password' | 'delete';
  field: 'current' | 'new' | 'confirmation';
  message: string;
  /** The response's status; 400 unless given. */
  status?: number;
  /** The text that was typed, so that the user need not type it again. */
  email?: string;
  confirmation?: string;
}

/** What is wrong about a form, in words; or that its password had no turn. */
type Complaint = string | PasswordsBusy;

/** The raw form: what is not a text reads as empty. {@link NewEmail} and {@link NewPassword} check further. */
const Form = z.object({
  current: z.string().catch(''),
  new: z.string().catch(''),
  confirmation: z.string().catch(''),
});

/** A short word that no browser fills in by itself, and that is not typed by mistake. */
const CONFIRMATION = 'DELETE';

const NO_PASSWORD = 'Enter your current password.';
const WRONG_PASSWORD = 'This is not your current password. Check it and try again.';
const SAME_EMAIL = 'This is your email address already.';
const EMAIL_TAKEN = 'There is already an account with this email address. Choose another one.';
const NOT_CONFIRMED = `Type ${CONFIRMATION} to confirm.`;

/** The page where users change their e-mail or password, download their data, and delete their account. */
export function accountPage(options: AccountPageOptions): Router {
  const { db, database, clock, log, authentication, limits, guesses, knownBrowsers } = options;
  const downloads = createDownloads(database.patientPool, clock);
  const router = Router();

  async function show(request: Request, response: Response, problem: AccountProblem | null = null): Promise<void> {
    const { changed = null } = request.session;
    delete request.session.changed;
    response.status(problem?.status ?? (problem === null ? 200 : 400));
    render(response, 'account', {
      title: 'Your account',
      csrfToken: await csrfToken(request),
      email: userOf(request).email,
      changed,
      confirmation: CONFIRMATION,
      problem,
    });
  }

  /** Shows the page with what is wrong about one of its forms. */
  async function showAgain(
    request: Request,
    response: Response,
    complaint: Complaint,
    problem: Omit<AccountProblem, 'message'>,
  ): Promise<void> {
    if (complaint instanceof PasswordsBusy) {
      prepareBusy(response, complaint);
      await show(request, response, { ...problem, message: complaint.detail, status: complaint.status });
    } else {
      await show(request, response, { ...problem, message: complaint });
    }
  }

  /** Verifies the user's current password. @returns what is wrong; undefined when the password is right */
  async function problemWithPassword(request: Request, password: string): Promise<Complaint | undefined> {
    if (password === '') return NO_PASSWORD;
    const user = userOf(request);
    const guess = await guesses.signedIn(request, user);
    const isRight = await orBusy(verifyPassword(options, user.id, password));
    if (isRight instanceof PasswordsBusy) {
      // As at the sign-in form.
      await guess.takeBack();
      return isRight;
    }
    if (!isRight) return WRONG_PASSWORD;
    await guess.right();
    return undefined;
  }

  /** The present session goes on, under a new ID. */
  async function goOn(request: Request, response: Response, user: User, changed: 'email' | 'password'): Promise<void> {
    await authentication.signIn(request, user);
    request.session.changed = changed;
    await saveSession(request);
    seeOther(response, PATH);
  }

  const changeOf = (request: Request) => ({ user: userOf(request), sessionId: request.sessionID, now: clock() });

  /** After another request of the user was faster: the page shows the present state. */
  const startOver = (response: Response) => {
    seeOther(response, PATH);
  };

  async function handleEmail(request: Request, response: Response): Promise<void> {
    const user = userOf(request);
    const { new: typed, current } = Form.parse(request.body);
    const refuse = (field: AccountProblem['field'], complaint: Complaint, status = 400) =>
      showAgain(request, response, complaint, { form: 'email', field, status, email: typed });

    const email = NewEmail.safeParse(typed);
    if (!email.success) return refuse('new', email.error.issues[0]?.message ?? '');
    if (email.data === user.email) return refuse('new', SAME_EMAIL);
    const complaint = await problemWithPassword(request, current);
    if (complaint !== undefined) return refuse('current', complaint);

    // Limited as sign-ups are, because the answer tells whether another user has this e-mail.
    await limits.newEmail.consume(user.id);
    const changed: Changed = await changeEmail(db, changeOf(request), email.data);
    switch (changed.kind) {
      case 'changed':
        return goOn(request, response, changed.user, 'email');
      case 'taken':
        return refuse('new', EMAIL_TAKEN, 409);
      case 'stale':
        startOver(response);
    }
  }

  async function handlePassword(request: Request, response: Response): Promise<void> {
    const { new: typed, current } = Form.parse(request.body);
    const refuse = (field: AccountProblem['field'], complaint: Complaint) =>
      showAgain(request, response, complaint, { form: 'password', field });

    const password = NewPassword.safeParse(typed);
    if (!password.success) return refuse('new', password.error.issues[0]?.message ?? '');
    const complaint = await problemWithPassword(request, current);
    if (complaint !== undefined) return refuse('current', complaint);

    const changed = await orBusy(changePassword(options, changeOf(request), password.data));
    if (changed instanceof PasswordsBusy) return refuse('current', changed);
    if (changed.kind === 'changed') await goOn(request, response, changed.user, 'password');
    else startOver(response);
  }

  async function handleDeletion(request: Request, response: Response): Promise<void> {
    const user = userOf(request);
    const { confirmation, current } = Form.parse(request.body);
    // Small letters are accepted: a telephone's keyboard may write them.
    if (confirmation.trim().toUpperCase() !== CONFIRMATION) {
      return show(request, response, { form: 'delete', field: 'confirmation', message: NOT_CONFIRMED });
    }
    const complaint = await problemWithPassword(request, current);
    if (complaint !== undefined) {
      return showAgain(request, response, complaint, { form: 'delete', field: 'current', confirmation });
    }

    if ((await deleteUser(options, user)) === 'stale') {
      startOver(response);
      return;
    }
    log.info('a user has deleted their account');
    delete request.session.pendingLink;
    await authentication.signOut(request);
    knownBrowsers.forget(request, response, user.email);
    seeOther(response, `${PATH}/deleted`);
  }

  const page = router.route(PATH);
  page.get(limitCaller(limits.visit), signedInOrHome, (request, response) => show(request, response));
  page.all(methodNotAllowed('GET', 'HEAD'));

  for (const [name, handle] of [
    ['email', handleEmail],
    ['password', handlePassword],
    ['delete', handleDeletion],
  ] as const) {
    const route = router.route(`${PATH}/${name}`);
    // First, because a session that has ended, perhaps by the first of two clicks, has no CSRF token any more.
    route.post(signedInOrHome, csrfProtection, limitCaller(limits.signInAddress), handle);
    route.get(backToPage);
    route.all(methodNotAllowed('POST'));
  }

  const data = router.route(`${PATH}/data`);
  // Express would answer HEAD by the handler of GET, which would read everything and send nothing.
  data.head(methodNotAllowed('GET'));
  data.get(signedInOrHome, async (request, response) => {
    const { id } = userOf(request);
    await limits.download.consume(id);
    try {
      const outcome = await downloads.send(id, networkOf(request.ip), response);
      if (outcome !== 'sent') throw noDownload(outcome);
    } catch (error) {
      if (!response.headersSent) throw error;
      log.warn({ err: error }, 'a download broke off');
      response.destroy();
    }
  });
  data.all(methodNotAllowed('GET'));

  // The page after a deletion. Its reader is signed out.
  const deleted = router.route(`${PATH}/deleted`);
  deleted.get(limitCaller(limits.visit), (request, response) => {
    if (request.user === undefined) render(response, 'account-deleted', { title: 'Your account is deleted' });
    else seeOther(response, PATH);
  });
  deleted.all(methodNotAllowed('GET', 'HEAD'));
  return router;
}

/** A failed form leaves its address in the browser. Reloading it should lead back to the page. */
const backToPage: RequestHandler = (_request, response) => {
  seeOther(response, PATH);
};

function noDownload(outcome: Exclude<Download, 'sent'>): HttpError {
  switch (outcome) {
    case 'under-way':
      return new HttpError(429, 'Your data is being downloaded already. Wait for that to end, and try again.', {
        retryAfterSeconds: 60,
      });
    case 'busy':
      return new HttpError(503, 'Many people are downloading right now. Please try again in a few minutes.', {
        retryAfterSeconds: 120,
      });
    case 'deleted':
      return new HttpError(404, 'This account was deleted.');
  }
}
