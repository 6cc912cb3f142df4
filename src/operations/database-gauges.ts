import type { Pool, PoolClient } from 'pg';
import { Gauge, Registry } from 'prom-client';
import type { Core } from '../core.js';
import { within } from '../time/within.js';
import { createBacklog } from './backlog-gauges.js';
import { createCensus } from './census-gauges.js';
import { createQueue } from './queue-gauges.js';
import type { Reading } from './reading.js';
import { shareLook } from './shared-look.js';

/**
 * Metrics that are read from the database, which all instances share. They are read for a scrape, and are the same on
 * every instance: take their maximum, where counters of processes are summed.
 */
export interface DatabaseGauges {
  /**
   * The metrics in Prometheus' text format. Gauges that could not be read in time are missing; the gauge that says so never
   * is. Takes `limitMs` at most.
   */
  exposition(limitMs: number): Promise<string>;
}

export interface DatabaseGaugeOptions extends Pick<Core, 'clock' | 'log'> {
  /** Has two connections, so that a slow reading does not keep the others waiting. */
  pool: Pool;
}

export function createDatabaseGauges(options: DatabaseGaugeOptions): DatabaseGauges {
  const readings = [createBacklog(), createQueue(), createCensus()].map((reading) => ({
    name: reading.name,
    text: textOf(reading, options),
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

/** Reads when called, once for all calls meanwhile. The text is undefined when that fails or takes longer. */
function textOf(
  { name, registry, read }: Reading,
  { pool, clock, log }: DatabaseGaugeOptions,
): (limitMs: number) => Promise<string | undefined> {
  async function readAnew(): Promise<string | undefined> {
    try {
      await withClient(pool, (client) => read(client, clock()));
      return await registry.metrics();
    } catch (error) {
      log.warn({ err: error, reading: name }, 'metrics could not be read');
      return undefined;
    }
  }

  // Not kept: the answer of which it becomes a part is.
  const text = shareLook(0, readAnew);
  return (limitMs) => within(limitMs, text());
}

async function withClient(pool: Pool, use: (client: PoolClient) => Promise<void>): Promise<void> {
  const client = await pool.connect();
  try {
    await use(client);
  } catch (error) {
    // Destroyed, because it may still be at work on a slow statement.
    client.release(true);
    throw error;
  }
  client.release();
}
