import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Knex } from 'knex';
import type { Core } from '../core.js';
import type { TokenPair } from '../ring/client.js';
import { RingError } from '../ring/errors.js';
import { insist } from '../time/insist.js';
import { within } from '../time/within.js';
import { storePair } from '../tokens/pair-rows.js';
import { sealPair } from '../tokens/token-pairs.js';
import type { Turn, TurnResult } from './code-turns.js';
import { beginExchange, dropExchange, type ExchangeRow, findExchange, settleExchange } from './exchange-rows.js';
import { enqueueIdentification } from './identify-pair.js';

/**
 * How the exchange of an authorization code ended. These four are remembered and answered again for the same code, which is
 * never exchanged twice:
 * - `STORED`: the token pair is in the database.
 * - `REFUSED`: Ring says that the code is not valid.
 * - `FAILED`: Ring answered something else than a token pair.
 * - `UNCERTAIN`: Ring may have used the code up. No answer came, or the process died before it could store it.
 */
type FinalOutcome = Exclude<ExchangeRow['outcome'], 'EXCHANGING'>;

/**
 * The other three are not remembered. After `NOT_SENT` (no connection, or too many requests) and `MISCONFIGURED` (Ring does
 * not accept our client credentials) Ring has certainly not used the code. `UNSETTLED`: the caller can't wait any longer.
 */
export type ExchangeOutcome = FinalOutcome | 'NOT_SENT' | 'MISCONFIGURED' | 'UNSETTLED';

/**
 * The results of an exchange in the end. `LOST`: Ring gave us a pair that we could not store while it was of use. `TURNED_AWAY`:
 * Ring was not asked, because of too many codes, or too many bad ones, from the same network or in all.
 */
export const EXCHANGE_RESULTS = [
  'STORED',
  'REFUSED',
  'FAILED',
  'UNCERTAIN',
  'NOT_SENT',
  'MISCONFIGURED',
  'LOST',
  'TURNED_AWAY',
] as const satisfies readonly (ExchangeOutcome | 'LOST' | 'TURNED_AWAY')[];
export type ExchangeResult = (typeof EXCHANGE_RESULTS)[number];

export interface ExchangeDependencies extends Pick<
  Core,
  'db' | 'ring' | 'vault' | 'clock' | 'log' | 'unclaimedTtlSeconds' | 'linkClockSkewSeconds'
> {
  /** Called with the result of each exchange. A repeated delivery of a code is none. */
  onExchange: (result: ExchangeResult) => void;
}

/**
 * How long a caller waits. Longer than the exchange itself may take, so that a second delivery seldom gives up on a first
 * that is still going.
 */
const ANSWER_LIMIT_MS = 12_000;
const WAIT_STEP_MS = 100;

export interface CodeExchange {
  /**
   * Exchanges an authorization code for a token pair and stores it, once for each code, however often and however
   * simultaneously the code is delivered. It goes on when the caller has been answered or is gone.
   *
   * @param takeTurn waits until Ring may be asked; not called for a code that has come before
   * @throws what `takeTurn` throws, and when the database can't be reached; a code that was not yet sent to Ring can then be
   *   delivered again
   * @see https://developer.amazon.com/docs/ring/app-deployment.html
   */
  exchange(code: string, takeTurn: () => Promise<Turn>): Promise<ExchangeOutcome>;
  /** Waits for all exchanges that are under way. */
  settled(): Promise<void>;
}

export function createCodeExchange(dependencies: ExchangeDependencies): CodeExchange {
  /** By digest. What comes again meanwhile waits here for the first one, and not in the database. */
  const underWay = new Map<string, Promise<ExchangeOutcome>>();
  return {
    async exchange(code, takeTurn) {
      const digest = createHash('sha256').update(code).digest();
      const key = digest.toString('base64');
      let exchanging = underWay.get(key);
      if (exchanging === undefined) {
        const received = { code, digest, at: dependencies.clock() };
        exchanging = exchangeOnce(dependencies, received, takeTurn).finally(() => underWay.delete(key));
        underWay.set(key, exchanging);
      }
      return (await within(ANSWER_LIMIT_MS, exchanging)) ?? 'UNSETTLED';
    },
    async settled() {
      await Promise.allSettled(underWay.values());
    },
  };
}

async function exchangeOnce(
  dependencies: ExchangeDependencies,
  received: ReceivedCode,
  takeTurn: () => Promise<Turn>,
): Promise<ExchangeOutcome> {
  const { db } = dependencies;
  const { digest } = received;
  if ((await findExchange(db, digest)) !== undefined) return outcomeOfFirst(dependencies, digest);
  const turn = await takeTurn();
  const answer = await askRing(dependencies, received, turn);
  if (answer === 'known') return outcomeOfFirst(dependencies, digest);
  if (answer instanceof RingError) {
    dependencies.log.warn({ err: answer }, 'the code exchange failed');
    dependencies.onExchange(outcomeOf(answer));
    return recordFailure(db, digest, answer);
  }
  try {
    await storeInsistently(dependencies, received, answer);
  } catch (error) {
    dependencies.onExchange('LOST');
    throw error;
  }
  dependencies.onExchange('STORED');
  return 'STORED';
}

/** Asks Ring, and ends the turn. @returns `known` when another instance was faster with this code */
async function askRing(
  { db, ring, log }: ExchangeDependencies,
  { code, digest, at }: ReceivedCode,
  turn: Turn,
): Promise<TokenPair | RingError | 'known'> {
  let result: TurnResult = 'other';
  try {
    // Committed before Ring is called: a crash in between reads as `UNCERTAIN`.
    if (!(await beginExchange(db, digest, at))) return 'known';
    const pair = await ring.exchangeCode(code);
    result = 'taken';
    return pair;
  } catch (error) {
    if (!(error instanceof RingError)) throw error;
    if (outcomeOf(error) === 'REFUSED') result = 'refused';
    return error;
  } finally {
    // Not waited for: the pair exists only in this process until it is stored.
    turn.end(result).catch((error: unknown) => {
      log.warn({ err: error }, 'what came of a code is not counted');
    });
  }
}

interface ReceivedCode {
  code: string;
  digest: Buffer;
  /** When the code came, which is soon after the installation. Its exchange may take seconds. */
  at: Date;
}

async function recordFailure(db: Knex, digest: Buffer, error: RingError): Promise<ExchangeOutcome> {
  const outcome = outcomeOf(error);
  if (outcome === 'NOT_SENT' || outcome === 'MISCONFIGURED') {
    await dropExchange(db, digest);
  } else {
    await settleExchange(db, digest, outcome);
  }
  return outcome;
}

function outcomeOf(error: RingError): Exclude<ExchangeOutcome, 'STORED' | 'UNSETTLED'> {
  switch (error.kind) {
    case 'rejected':
      if (error.code === 'invalid_client') return 'MISCONFIGURED';
      // A code that has not even the form of one may be called an invalid request.
      return error.code === 'invalid_grant' || error.code === 'invalid_request' ? 'REFUSED' : 'FAILED';
    case 'unauthorized':
      return 'MISCONFIGURED';
    case 'rate-limited':
    case 'unreachable':
      return 'NOT_SENT';
    case 'unavailable':
    case 'malformed':
      return 'FAILED';
    case 'no-answer':
      return 'UNCERTAIN';
  }
}

/** Stores the pair, which exists only in this process. Gives up when it is too old to be claimed. */
async function storeInsistently(
  dependencies: ExchangeDependencies,
  code: ReceivedCode,
  pair: TokenPair,
): Promise<void> {
  const { log, unclaimedTtlSeconds } = dependencies;
  const tokenId = randomUUID();
  const giveUpAt = performance.now() + unclaimedTtlSeconds * 1_000;
  await insist(
    () => store(dependencies, code, tokenId, pair),
    (error) => {
      if (performance.now() > giveUpAt) throw error;
      log.error({ err: error, tokenId }, 'a received token pair is not stored; trying again');
    },
  );
}

async function store(
  { db, vault, clock, linkClockSkewSeconds }: ExchangeDependencies,
  code: ReceivedCode,
  tokenId: string,
  pair: TokenPair,
): Promise<void> {
  const now = clock();
  const sealed = sealPair(vault, tokenId, pair);
  await db.transaction(async (trx) => {
    // The ID is the same on every attempt: if an earlier commit got through and only its answer was lost, nothing changes.
    await storePair(trx, {
      id: tokenId,
      ...sealed,
      scope: pair.scope,
      access_token_expires_at: new Date(now.getTime() + pair.expiresIn * 1_000),
      created_at: now,
      // The earliest time that Ring's clock may have shown.
      installed_since: new Date(code.at.getTime() - linkClockSkewSeconds * 1_000),
    });
    await settleExchange(trx, code.digest, 'STORED');
    await enqueueIdentification(trx, tokenId);
  });
}

/** The outcome of the code's first delivery. Waits for it while it is under way. */
async function outcomeOfFirst({ db, clock }: ExchangeDependencies, digest: Buffer): Promise<ExchangeOutcome> {
  const giveUpAt = performance.now() + ANSWER_LIMIT_MS;
  for (;;) {
    const exchange = await findExchange(db, digest);
    if (exchange === undefined) return 'NOT_SENT';
    if (exchange.outcome !== 'EXCHANGING') return exchange.outcome;
    const isAbandoned = clock().getTime() - exchange.started_at.getTime() > ANSWER_LIMIT_MS;
    if (isAbandoned || performance.now() > giveUpAt) return 'UNCERTAIN';
    await delay(WAIT_STEP_MS);
  }
}
