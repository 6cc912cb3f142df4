import type { Request, RequestHandler } from 'express';
import { HttpError } from '../http/errors.js';
import { seeOther } from '../http/see-other.js';
import type { User } from './users.js';

/** For pages: sends a visitor who is not signed in to the home page. */
export const signedInOrHome: RequestHandler<object> = (request, response, next) => {
  if (request.user === undefined) seeOther(response, '/ring/home?sign-in');
  else next();
};

/** The answer to a script whose user is not signed in, or not any more. */
export const sessionEnded = (): HttpError => new HttpError(401, 'Your session has ended. Sign in again.');

/** For scripts: refuses a visitor who is not signed in. @throws {HttpError} 401 */
export const signedInOrRefused: RequestHandler<object> = (request, _response, next) => {
  if (request.user === undefined) throw sessionEnded();
  next();
};

/** The signed-in user, in a route behind {@link signedInOrHome} or {@link signedInOrRefused}. */
export function userOf(request: Pick<Request, 'user'>): User {
  if (request.user === undefined) throw new Error('this route is for signed-in users');
  return request.user;
}

export const userIdOf = (request: Pick<Request, 'user'>): string => userOf(request).id;
