import type { Response } from 'express';
import { HttpError } from '../http/errors.js';

/** So many people sign in at the same time that a password was not looked at. */
export class PasswordsBusy extends HttpError {
  constructor() {
    super(503, 'Very many people are signing in right now. Please wait a few seconds, and try again.', {
      retryAfterSeconds: 5,
    });
  }
}

/** The result of work with passwords, or the error that they are busy: for a page that shows its form again. */
export async function orBusy<Result>(work: Promise<Result>): Promise<Result | PasswordsBusy> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof PasswordsBusy) return error;
    throw error;
  }
}

/** Prepares a response whose page says that passwords are busy. */
export function prepareBusy(response: Response, busy: PasswordsBusy): void {
  response.err = busy;
  response.status(busy.status).set(busy.headers);
}
