import type { Request } from 'express';
import { networkOf } from '../http/networks.js';
import { type IsWelcome, type RateLimits, unlessWelcome } from '../http/rate-limits.js';
import type { KnownBrowsers } from './known-browsers.js';
import type { User } from './users.js';

/** A guess of a password that was counted, and may be verified. */
export interface Guess {
  /** The password was right: what was counted in this place begins anew. */
  right(): Promise<void>;
  /** The password was not looked at: the guess does not count. */
  takeBack(): Promise<void>;
}

/** Counts guesses before the password is verified: guesses that arrive together would all pass a later count. */
export interface Guesses {
  /**
   * A guess at the sign-in form. Browsers that the account knows have a counter of their own, which strangers can't use up.
   * Everybody else is counted for account and network together, and for the account in all.
   *
   * @param email the normalized address, since one account must not count as several; undefined when there is none to look up
   * @throws {HttpError} 429
   */
  atSignIn(request: Request, email: string | undefined): Promise<Guess>;
  /** A guess by somebody who is signed in, counted for their session. @throws {HttpError} 429 */
  signedIn(request: Request, user: User): Promise<Guess>;
}

export interface GuessesOptions {
  limits: RateLimits;
  knownBrowsers: KnownBrowsers;
  isWelcome: IsWelcome;
}

export function createGuesses({ limits, knownBrowsers, isWelcome }: GuessesOptions): Guesses {
  async function ofStranger(request: Request, email: string | undefined): Promise<Guess> {
    const network = networkOf(request.ip);
    await unlessWelcome(request, isWelcome, () => limits.signInAddress.consume(network));
    if (email === undefined) return { right: () => Promise.resolve(), takeBack: () => Promise.resolve() };
    // In this order: what a network is refused must not use up what the account has in all.
    await limits.guess.consume(network, email);
    await unlessWelcome(request, isWelcome, () => limits.guessAccount.consume(email));
    return {
      async right() {
        await limits.guess.reset(network, email);
        // The wrong guesses of others still count.
        await limits.guessAccount.giveBack(email);
      },
      async takeBack() {
        await limits.guess.giveBack(network, email);
        await limits.guessAccount.giveBack(email);
      },
    };
  }

  return {
    async atSignIn(request, email) {
      if (email === undefined || !knownBrowsers.knows(request, email)) return ofStranger(request, email);
      // Another browser that the account knows may be in strange hands by now.
      if (!(await limits.guessKnownBrowser.take(email))) return ofStranger(request, email);
      return {
        // Right ones go on counting: no network limits these guesses, and each is work.
        right: () => Promise.resolve(),
        takeBack: () => limits.guessKnownBrowser.giveBack(email),
      };
    },

    async signedIn(request, { id }) {
      const key = `${id} ${request.sessionID}`;
      await limits.guessSignedIn.consume(key);
      return { right: () => limits.guessSignedIn.reset(key), takeBack: () => limits.guessSignedIn.giveBack(key) };
    },
  };
}
