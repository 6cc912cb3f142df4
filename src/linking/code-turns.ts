import { setTimeout as delay } from 'node:timers/promises';
import { HttpError, tooManyRequests } from '../http/errors.js';
import type { Network } from '../http/networks.js';
import { RATES, type RateLimits } from '../http/rate-limits.js';
import { createInTurn } from '../time/in-turn.js';

/** What Ring said to a code. `refused`: it does not know the code, or not any more. */
export type TurnResult = 'taken' | 'refused' | 'other';

/** The permission to ask Ring for one code. */
export interface Turn {
  end(result: TurnResult): Promise<void>;
}

/**
 * Gives turns to codes, so that junk does not spend the requests that Ring allows us.
 *
 * A network is proven once Ring has taken a code of it: nobody but Ring has such codes. Codes of a proven network go ahead at
 * once, unless very many of them are refused. Codes of all other networks share a few requests a second over all instances,
 * one network after the other, and a network is stopped after some refused ones.
 */
export interface CodeTurns {
  /** @throws {HttpError} 429 when the network is stopped, 503 when too many codes come at once */
  take(network: Network): Promise<Turn>;
}

/** The most codes that wait for a turn in this process. */
export const WAITING_CODES = { ofNetwork: 20, ofProcess: 200 } as const;
/** How long a code waits, in ms. Ring does not wait for our answer for long. */
const PATIENCE_MS = 6_000;
const SHARE_POLL_MS = 50;

export type CodeLimits = Pick<RateLimits, 'refusedCode' | 'refusedCodeOfRing' | 'unprovenCodes' | 'proven'>;

/** A network that is not proven, while codes of it wait or Ring is asked for them. */
interface Sender {
  network: Network;
  inTurn: ReturnType<typeof createInTurn>;
  waiting: number;
  /** End when Ring has answered. */
  asked: Set<Promise<void>>;
}

export function createCodeTurns(limits: CodeLimits): CodeTurns {
  const senders = new Map<string, Sender>();
  /** Each sender takes from the share in turn, however many codes it has. */
  const inTurn = createInTurn();
  let waiting = 0;

  function senderOf(network: Network): Sender {
    const sender = senders.get(network.own) ?? { network, inTurn: createInTurn(), waiting: 0, asked: new Set() };
    senders.set(network.own, sender);
    return sender;
  }

  function forgetIdle({ network, waiting: ofSender, asked }: Sender): void {
    if (ofSender === 0 && asked.size === 0) senders.delete(network.own);
  }

  async function take(network: Network): Promise<Turn> {
    const atOnce = await turnOfProven(network);
    if (atOnce !== undefined) return atOnce;
    const sender = senderOf(network);
    if (sender.waiting >= WAITING_CODES.ofNetwork || waiting >= WAITING_CODES.ofProcess) throw tooManyAtOnce();
    const giveUpAt = performance.now() + PATIENCE_MS;
    sender.waiting += 1;
    waiting += 1;
    try {
      return await sender.inTurn(() => admit(sender, giveUpAt));
    } finally {
      sender.waiting -= 1;
      waiting -= 1;
      forgetIdle(sender);
    }
  }

  /** @returns undefined for a network that is not proven, and for one of which very many codes were refused */
  async function turnOfProven(network: Network): Promise<Turn | undefined> {
    if (!(await limits.proven.has(network))) return undefined;
    // Counted before Ring is asked, like every code: those that come together would all pass a later count.
    if (!(await limits.refusedCodeOfRing.take(network))) return undefined;
    return {
      async end(result) {
        if (result === 'taken') await limits.proven.add(network);
        if (result !== 'refused') await limits.refusedCodeOfRing.giveBack(network);
      },
    };
  }

  async function admit(sender: Sender, giveUpAt: number): Promise<Turn> {
    const { network } = sender;
    for (;;) {
      // A code before this one may have proven the network.
      const atOnce = await turnOfProven(network);
      if (atOnce !== undefined) return atOnce;
      if (performance.now() > giveUpAt) throw tooManyAtOnce();
      if (await limits.refusedCode.take(network)) break;
      // A proven network is slowed down and never stopped: its codes are real, if late.
      if (await limits.proven.has(network)) return lateTurn(giveUpAt);
      await limits.refusedCode.giveBack(network);
      if (sender.asked.size === 0) throw tooManyRequests(RATES.refused_code.seconds);
      await Promise.race(sender.asked);
    }
    try {
      await waitForShare(giveUpAt);
    } catch (error) {
      await limits.refusedCode.giveBack(network);
      throw error;
    }
    return turnOfUnproven(sender);
  }

  function turnOfUnproven(sender: Sender): Turn {
    const { network, asked } = sender;
    let answered: () => void = () => undefined;
    const asking = new Promise<void>((resolve) => (answered = resolve));
    asked.add(asking);
    return {
      async end(result) {
        try {
          if (result === 'taken') await limits.proven.add(network);
          if (result !== 'refused') await limits.refusedCode.giveBack(network);
        } finally {
          asked.delete(asking);
          answered();
          forgetIdle(sender);
        }
      },
    };
  }

  async function lateTurn(giveUpAt: number): Promise<Turn> {
    await waitForShare(giveUpAt);
    return { end: () => Promise.resolve() };
  }

  function waitForShare(giveUpAt: number): Promise<void> {
    return inTurn(async () => {
      while (!(await limits.unprovenCodes.take('all'))) {
        if (performance.now() > giveUpAt) throw tooManyAtOnce();
        await delay(SHARE_POLL_MS);
      }
    });
  }

  return { take };
}

const tooManyAtOnce = (): HttpError =>
  new HttpError(503, 'Too many codes come at once. Send this one again.', { retryAfterSeconds: 1 });
