import type { ErrorRequestHandler } from 'express';
import { z } from 'zod';
import type { RingUser } from '../state/accounts.js';
import type { Simulation } from '../state/state.js';

/** A request of a script that can't be met. */
export class ControlError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** @throws {ControlError} 404 */
export function findUser(simulation: Simulation, id: string): RingUser {
  const user = simulation.state.accounts.find(id);
  if (user === undefined) throw new ControlError(404, 'no such user');
  return user;
}

export const answerControlError: ErrorRequestHandler = (error: unknown, _request, response, next) => {
  if (error instanceof z.ZodError) {
    response.status(400).json({ error: z.prettifyError(error) });
  } else if (error instanceof ControlError) {
    response.status(error.status).json({ error: error.message });
  } else if (error instanceof SyntaxError) {
    response.status(400).json({ error: 'malformed JSON' });
  } else {
    next(error);
  }
};
