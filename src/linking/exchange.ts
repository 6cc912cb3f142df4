import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Knex } from 'knex';
import { row } from '../database/database.js';
import { enqueue } from '../jobs/enqueue.js';
import { NEXT_ARRIVAL } from '../ring-accounts/installation.js';
import type { TokenGrant } from '../ring/client.js';
import { RingError } from '../ring/errors.js';
import { within } from '../time/within.js';
import { insist } from '../time/insist.js';
import { sealPair } from '../tokens/token-pairs.js';
import { IDENTIFY_ACCOUNT } from './identify-pair.js';
import type { Core } from '../core.js';

/**
 * How an authorization code ended. These four are remembered and answered again for the same code, which is never
 * exchanged twice:
 * - `STORED`: the token pair is in the database.
 * - `REFUSED`: Ring says that the code is not good.
 * - `FAILED`: Ring answered something else than a token pair.
 * - `UNCERTAIN`: nobody knows whether Ring used the code up: no answer came, or we died before we could store it.
 */
type FinalOutcome = 'STORED' | 'REFUSED' | 'FAILED' | 'UNCERTAIN';

/**
 * The others are not remembered. Ring has certainly not used the code: `NOT_SENT` (no connection, or too many requests) and
 * `MISCONFIGURED` (Ring does not accept our client credentials). `UNSETTLED`: it takes longer than the caller can wait.
 */
export type ExchangeOutcome = FinalOutcome | 'NOT_SENT' | 'MISCONFIGURED' | 'UNSETTLED';

/** What came of one exchange in the end; `LOST`: Ring gave us a pair that we could not store while it was of use. */
export const EXCHANGE_RESULTS = [
  'STORED',
  'REFUSED',
  'FAILED',
  'UNCERTAIN',
  'NOT_SENT',
  'MISCONFIGURED',
  'LOST',
] as const satisfies readonly (ExchangeOutcome | 'LOST')[];
export type ExchangeResult = (typeof EXCHANGE_RESULTS)[number];

export interface ExchangeDependencies extends Pick<
  Core,
  'db' | 'ring' | 'vault' | 'clock' | 'log' | 'unclaimedTtlSeconds' | 'linkClockSkewSeconds'
> {
  /** Hears what came of each exchange; a repeated delivery is none. */
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
   * @throws when the database can't be reached; a code that was not yet sent to Ring can then be delivered again
   * @see https://developer.amazon.com/docs/ring/app-deployment.html
   */
  exchange(code: string): Promise<ExchangeOutcome>;
  /** Waits for all that are under way. */
  settled(): Promise<void>;
}

export function createCodeExchange(dependencies: ExchangeDependencies): CodeExchange {
  const underWay = new Set<Promise<ExchangeOutcome>>();
  return {
    async exchange(code) {
      const exchanging = exchangeOnce(dependencies, code).finally(() => underWay.delete(exchanging));
      underWay.add(exchanging);
      return (await within(ANSWER_LIMIT_MS, exchanging)) ?? 'UNSETTLED';
    },
    async settled() {
      await Promise.allSettled(underWay);
    },
  };
}

async function exchangeOnce(dependencies: ExchangeDependencies, code: string): Promise<ExchangeOutcome> {
  const received = { digest: createHash('sha256').update(code).digest(), at: dependencies.clock() };
  const { digest } = received;
  if (!(await begin(dependencies, received))) return outcomeOfFirst(dependencies, digest);
  let grant: TokenGrant;
  try {
    grant = await dependencies.ring.exchangeCode(code);
  } catch (error) {
    if (!(error instanceof RingError)) throw error;
    dependencies.log.warn({ err: error }, 'the code exchange failed');
    dependencies.onExchange(outcomeOf(error));
    return recordFailure(dependencies.db, digest, error);
  }
  try {
    await storeInsistently(dependencies, received, grant);
  } catch (error) {
    dependencies.onExchange('LOST');
    throw error;
  }
  dependencies.onExchange('STORED');
  return 'STORED';
}

interface ReceivedCode {
  digest: Buffer;
  /** When it came, which is soon after the installation; its exchange may take seconds. */
  at: Date;
}

/** Takes the code for this delivery. Committed before Ring is called: a crash in between reads as `UNCERTAIN`. */
async function begin({ db }: ExchangeDependencies, { digest, at }: ReceivedCode): Promise<boolean> {
  const taken = await row(
    db,
    `INSERT INTO token_exchanges (code_digest, outcome, started_at) VALUES (?, 'EXCHANGING', ?)
     ON CONFLICT (code_digest) DO NOTHING RETURNING 1`,
    [digest, at],
  );
  return taken !== undefined;
}

async function recordFailure(db: Knex, digest: Buffer, error: RingError): Promise<ExchangeOutcome> {
  const outcome = outcomeOf(error);
  if (outcome === 'NOT_SENT' || outcome === 'MISCONFIGURED') {
    await db.raw('DELETE FROM token_exchanges WHERE code_digest = ?', [digest]);
  } else {
    await settle(db, digest, outcome);
  }
  return outcome;
}

function outcomeOf(error: RingError): Exclude<ExchangeOutcome, 'STORED' | 'UNSETTLED'> {
  switch (error.kind) {
    case 'rejected':
      if (error.code === 'invalid_client') return 'MISCONFIGURED';
      return error.code === 'invalid_grant' ? 'REFUSED' : 'FAILED';
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

async function settle(on: Knex, digest: Buffer, outcome: FinalOutcome): Promise<void> {
  await on.raw('UPDATE token_exchanges SET outcome = ? WHERE code_digest = ?', [outcome, digest]);
}

/** Right now the pair exists in this process and nowhere else: we let go of it when nobody could claim it any more. */
async function storeInsistently(
  dependencies: ExchangeDependencies,
  code: ReceivedCode,
  grant: TokenGrant,
): Promise<void> {
  const { log, unclaimedTtlSeconds } = dependencies;
  const tokenId = randomUUID();
  const giveUpAt = performance.now() + unclaimedTtlSeconds * 1_000;
  await insist(
    () => store(dependencies, code, tokenId, grant),
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
  grant: TokenGrant,
): Promise<void> {
  const now = clock();
  const pair = sealPair(vault, tokenId, grant);
  await db.transaction(async (trx) => {
    // The same id on every attempt: if an earlier commit got through and only its answer was lost, this changes nothing.
    await trx.raw(
      `INSERT INTO ring_tokens (id, status, key_id, access_token_ciphertext, refresh_token_ciphertext, scope,
                                access_token_expires_at, created_at, arrival, installed_since)
       VALUES (?, 'RECEIVED', ?, ?, ?, ?, ?, ?, ${NEXT_ARRIVAL}, ?)
       ON CONFLICT (id) DO NOTHING`,
      [
        tokenId,
        pair.key_id,
        pair.access_token_ciphertext,
        pair.refresh_token_ciphertext,
        grant.scope,
        new Date(now.getTime() + grant.expiresIn * 1_000),
        now,
        // As Ring's clock showed it at the earliest.
        new Date(code.at.getTime() - linkClockSkewSeconds * 1_000),
      ],
    );
    await settle(trx, code.digest, 'STORED');
    await enqueue(trx, IDENTIFY_ACCOUNT, { tokenId, attempt: 1 }, { key: `${IDENTIFY_ACCOUNT}:${tokenId}` });
  });
}

/** The answer that the first delivery of this code got, waiting for it if it is still on its way. */
async function outcomeOfFirst({ db, clock }: ExchangeDependencies, digest: Buffer): Promise<ExchangeOutcome> {
  const giveUpAt = performance.now() + ANSWER_LIMIT_MS;
  for (;;) {
    const exchange = await row<{ outcome: FinalOutcome | 'EXCHANGING'; started_at: Date }>(
      db,
      'SELECT outcome, started_at FROM token_exchanges WHERE code_digest = ?',
      [digest],
    );
    if (exchange === undefined) return 'NOT_SENT';
    if (exchange.outcome !== 'EXCHANGING') return exchange.outcome;
    const isAbandoned = clock().getTime() - exchange.started_at.getTime() > ANSWER_LIMIT_MS;
    if (isAbandoned || performance.now() > giveUpAt) return 'UNCERTAIN';
    await delay(WAIT_STEP_MS);
  }
}
