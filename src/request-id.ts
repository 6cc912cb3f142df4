import { AsyncLocalStorage } from 'node:async_hooks';

const current = new AsyncLocalStorage<string>();

/** The id of the request, or of the webhook, on whose behalf the present work is done. */
export const currentRequestId = (): string | undefined => current.getStore();

/**
 * Does some work on behalf of a request. Its log lines, its calls to Ring and its jobs carry the id without being passed it,
 * and so does the work of those jobs.
 */
export function onBehalfOf<Result>(requestId: string, work: () => Result): Result {
  return current.run(requestId, work);
}
