import { AsyncLocalStorage } from 'node:async_hooks';

const current = new AsyncLocalStorage<string>();

/** Whose doing this is: the id of the request, or of the webhook, that caused what is being done right now. */
export const currentRequestId = (): string | undefined => current.getStore();

/**
 * Does something on behalf of a request. Whatever follows from it carries the id, without being handed it: log lines, calls
 * to Ring, and the jobs that it adds, with all that follows from those.
 */
export function onBehalfOf<Result>(requestId: string, work: () => Result): Result {
  return current.run(requestId, work);
}
