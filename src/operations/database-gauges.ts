import type { Pool, PoolClient } from 'pg';
import type { Logger } from 'pino';
import { Gauge, Registry } from 'prom-client';
import type { Clock } from '../time/clock.js';
import { within } from '../time/within.js';
import { createBacklog } from './backlog-gauges.js';
import { createCensus } from './census-gauges.js';
import { createQueue } from './queue-gauges.js';
import type { Reading } from './reading.js';

/**
 * What stands in the database, which all instances share: read when somebody asks, and the same on every instance. Sum
 * what processes count; of these take the maximum.
 */
export interface DatabaseGauges {
  /**
   * In Prometheus' text format. What could not be read, or not in time, is not there; whether it was read always is.
   * Takes `limitMs` at most.
   */
  exposition(limitMs: number): Promise<string>;
}

export interface DatabaseGaugeDependencies {
  /** For two at a time: what takes long must not keep the rest waiting. */
  pool: Pool;
  clock: Clock;
  log: Logger;
}

export function createDatabaseGauges(dependencies: DatabaseGaugeDependencies): DatabaseGauges {
  const readings = [createBacklog(), createQueue(), createCensus()].map((reading) => ({
    name: reading.name,
    text: textOf(reading, dependencies),
  }));
  const status = new Registry();
  const success = new Gauge({
    name: 'ring_link_database_scrape_success',
    help: 'Whether the metrics that stand in the database could be read: backlog (what waits), queue (its jobs), census (what there is). Those that could not are not there.',
    labelNames: ['reading'],
    registers: [status],
  });

  return {
    async exposition(limitMs) {
      const texts = await Promise.all(
        readings.map(async ({ name, text: read }) => {
          const text = await read(limitMs);
          success.set({ reading: name }, text === undefined ? 0 : 1);
          return text ?? '';
        }),
      );
      return [await status.metrics(), ...texts].join('\n');
    },
  };
}

/** Reads when asked, once for all who ask meanwhile; undefined when it fails or takes longer. */
function textOf(
  { name, registry, read }: Reading,
  { pool, clock, log }: DatabaseGaugeDependencies,
): (limitMs: number) => Promise<string | undefined> {
  let underWay: Promise<string | undefined> | undefined;

  async function readAnew(): Promise<string | undefined> {
    try {
      await withClient(pool, (client) => read(client, clock()));
      return await registry.metrics();
    } catch (error) {
      log.warn({ err: error, reading: name }, 'metrics could not be read');
      return undefined;
    }
  }

  return (limitMs) => {
    underWay ??= readAnew().finally(() => (underWay = undefined));
    return within(limitMs, underWay);
  };
}

async function withClient(pool: Pool, use: (client: PoolClient) => Promise<void>): Promise<void> {
  const client = await pool.connect();
  try {
    await use(client);
  } catch (error) {
    // It may still be at work on what took too long.
    client.release(true);
    throw error;
  }
  client.release();
}
