import { setTimeout as delay } from 'node:timers/promises';
import { HttpError, tooManyRequests } from '../http/errors.js';
import type { Network } from '../http/networks.js';
import { RATES, type RateLimits } from '../http/rate-limits.js';
import { createShortMemory } from '../time/short-memory.js';
import { createSlots, type Slots } from '../time/slots.js';

/** What Ring said to a code. `refused`: it does not know the code, or not any more. */
export type TurnResult = 'taken' | 'refused' | 'other';

/** The permission to ask Ring for one code. */
export interface Turn {
  end(result: TurnResult): Promise<void>;
}

/**
 * Keeps junk from spending the requests that Ring allows us.
 *
 * A network is proven once Ring has taken a code of it: nobody but Ring has such codes. Codes of a proven network go ahead at
 * once, unless very many of them are refused. Codes of all other networks share a few requests a second over all instances,
 * one network after the other, and a network is stopped after some refused ones.
 */
export interface CodeTurns {
  /**
   * Lets a request in. Of a network that is not proven, few are let in at a time, and the rest waits without costing anything.
   *
   * @returns to be called once the request is answered
   * @throws {HttpError} 429 when the network is stopped, 503 when too many wait
   */
  enter(network: Network): Promise<() => void>;
  /** Waits until Ring may be asked for one code. @throws as `enter` */
  take(network: Network): Promise<Turn>;
}

/** The most requests with codes in this process: of one network that is not proven, how many are let in, and how many wait. */
export const CODE_PLACES = { inside: 10, waitingOfNetwork: 100, waitingOfProcess: 1_000 } as const;
/** How long a code waits, in ms. Ring does not wait for our answer for long. */
const PATIENCE_MS = 6_000;
const SHARE_POLL_MS = 50;
/** For how long this process knows without asking Postgres that a network is proven, or stopped, in ms. */
const PROVEN_MEMORY_MS = 60_000;
const STOPPED_MEMORY_MS = 1_000;
const MOST_REMEMBERED = 10_000;

export type CodeLimits = Pick<RateLimits, 'refusedCode' | 'refusedCodeOfRing' | 'unprovenCodes' | 'proven'>;

/** A network that is not proven, while there are requests of it. */
interface Sender {
  network: Network;
  door: Slots;
  /** For one code at a time, until its turn has come. */
  queue: Slots;
  /** End when Ring has answered. */
  asked: Set<Promise<void>>;
}

/** @param onTurnedAway is called for each request of which Ring was not asked, although it may have had a good code */
export function createCodeTurns(limits: CodeLimits, onTurnedAway: () => void): CodeTurns {
  const senders = new Map<string, Sender>();
  /** Each sender takes from the share in turn, however many codes it has. */
  const share = createSlots(1);
  const provenLately = createShortMemory(PROVEN_MEMORY_MS, MOST_REMEMBERED);
  const renewedLately = createShortMemory(PROVEN_MEMORY_MS, MOST_REMEMBERED);
  const stoppedLately = createShortMemory(STOPPED_MEMORY_MS, MOST_REMEMBERED);
  let waitingAtDoors = 0;

  function senderOf(network: Network): Sender {
    const known = senders.get(network.own);
    if (known !== undefined) return known;
    const sender = {
      network,
      door: createSlots(CODE_PLACES.inside),
      queue: createSlots(1),
      asked: new Set<Promise<void>>(),
    };
    senders.set(network.own, sender);
    return sender;
  }

  function forgetIdle({ network, door, queue, asked }: Sender): void {
    if (door.isIdle() && queue.isIdle() && asked.size === 0) senders.delete(network.own);
  }

  function refuseStopped({ own }: Network): void {
    if (stoppedLately.has(own)) throw stopped();
  }

  function stopped(): HttpError {
    onTurnedAway();
    return tooManyRequests(RATES.refused_code.seconds);
  }

  function tooManyAtOnce(): HttpError {
    onTurnedAway();
    return new HttpError(503, 'Too many codes come at once. Send this one again.', { retryAfterSeconds: 1 });
  }

  async function isProven(network: Network): Promise<boolean> {
    if (provenLately.has(network.own)) return true;
    const isKnown = await limits.proven.has(network);
    if (isKnown) provenLately.add(network.own);
    return isKnown;
  }

  async function prove(network: Network): Promise<void> {
    provenLately.add(network.own);
    if (renewedLately.has(network.own)) return;
    renewedLately.add(network.own);
    await limits.proven.add(network);
  }

  async function enter(network: Network): Promise<() => void> {
    if (provenLately.has(network.own)) return () => undefined;
    refuseStopped(network);
    const giveUpAt = performance.now() + PATIENCE_MS;
    const sender = senderOf(network);
    const isFull =
      sender.door.waiting() >= CODE_PLACES.waitingOfNetwork || waitingAtDoors >= CODE_PLACES.waitingOfProcess;
    if (isFull) {
      forgetIdle(sender);
      throw tooManyAtOnce();
    }
    waitingAtDoors += 1;
    const leaveDoor = await sender.door.enter();
    waitingAtDoors -= 1;
    const leave = () => {
      leaveDoor();
      forgetIdle(sender);
    };
    try {
      refuseStopped(network);
      if (performance.now() > giveUpAt) throw tooManyAtOnce();
    } catch (error) {
      leave();
      throw error;
    }
    return leave;
  }

  async function take(network: Network): Promise<Turn> {
    const atOnce = await turnOfProven(network);
    if (atOnce !== undefined) return atOnce;
    const giveUpAt = performance.now() + PATIENCE_MS;
    const sender = senderOf(network);
    const leaveQueue = await sender.queue.enter();
    try {
      return await admit(sender, giveUpAt);
    } finally {
      leaveQueue();
      forgetIdle(sender);
    }
  }

  /** @returns undefined for a network that is not proven, and for one of which very many codes were refused */
  async function turnOfProven(network: Network): Promise<Turn | undefined> {
    if (!(await isProven(network))) return undefined;
    // Counted before Ring is asked, like every code: those that come together would all pass a later count.
    if (!(await limits.refusedCodeOfRing.take(network))) return undefined;
    return {
      async end(result) {
        if (result === 'taken') await prove(network);
        if (result !== 'refused') await limits.refusedCodeOfRing.giveBack(network);
      },
    };
  }

  async function admit(sender: Sender, giveUpAt: number): Promise<Turn> {
    const { network, asked } = sender;
    for (;;) {
      refuseStopped(network);
      // A code before this one may have proven the network.
      const atOnce = await turnOfProven(network);
      if (atOnce !== undefined) return atOnce;
      if (performance.now() > giveUpAt) throw tooManyAtOnce();
      if (await limits.refusedCode.take(network)) break;
      // A proven network is slowed down and never stopped: its codes are real, if late.
      if (await isProven(network)) return lateTurn(giveUpAt);
      if (asked.size === 0) {
        stoppedLately.add(network.own);
        throw stopped();
      }
      await Promise.race(asked);
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
          if (result === 'taken') await prove(network);
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

  async function waitForShare(giveUpAt: number): Promise<void> {
    const leave = await share.enter();
    try {
      while (!(await limits.unprovenCodes.take('all'))) {
        if (performance.now() > giveUpAt) throw tooManyAtOnce();
        await delay(SHARE_POLL_MS);
      }
    } finally {
      leave();
    }
  }

  return { enter, take };
}
