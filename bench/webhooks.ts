import { availableParallelism } from 'node:os';
import pg from 'pg';
import { benchApplying } from './applying.js';
import { ACCOUNT_IDS, type Load, prepareRequests, sendAll } from './load.js';
import { isIdle, linkAccounts, type Receivers, startApp, startReceivers } from './receivers.js';
import { type Aim, median, printAims, printTable } from './report.js';
import type { Server } from './servers.js';

const ROUNDS = 5;
const REQUESTS = 10_000;
const WARM_UP_REQUESTS = 5_000;
const SUSTAINED_MS = 60_000;

/**
 * Measures the webhook receiver of the whole app beside two that promise less, all under the same load in alternating
 * rounds.
 */
export async function benchWebhooks(databaseUrl: string, directory: string): Promise<void> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 2 });
  const receivers = await startReceivers(databaseUrl, directory, pool);
  const all = Object.values(receivers) as Server[];
  let stored = 0;
  const send: Send = async (servers, count) => {
    const load = await sendAll(
      servers.map(({ port }) => port),
      prepareRequests(count),
    );
    if (servers.includes(receivers.app)) stored += load.stored;
    return load;
  };
  try {
    for (const server of all) await send([server], WARM_UP_REQUESTS);
    await compare('Webhooks, 64 connections, of 200 accounts that are not linked', receivers, pool, send, [1.7, 0.6]);
    const other = await startApp('another instance', databaseUrl, directory);
    await compareInstances(receivers.app, other, send).finally(() => other.stop());
    // The events that waited for the links are in the way of what is measured next.
    await pool.query(`UPDATE webhook_events SET status = 'PROCESSED'`);
    await linkAccounts(pool, ACCOUNT_IDS);
    await pool.query('VACUUM ANALYZE');
    await compare('The same of linked accounts, while what was stored is applied', receivers, pool, send, [1.3, 0.45]);
    await sustain(receivers.app, pool, send);
    const { rows } = await pool.query<{ count: number }>('SELECT count(*)::int AS count FROM webhook_events');
    printTable('Durable', ['answered 200', 'rows'], [[String(stored), String(rows[0]?.count)]]);
    if (rows[0]?.count !== stored) throw new Error('the answers and the rows differ');
    await benchApplying(receivers.app, pool, databaseUrl);
  } finally {
    for (const server of all) await server.stop();
    await pool.end();
  }
}

/** Sends a number of requests, spread over the servers. */
type Send = (servers: readonly Server[], count: number) => Promise<Load>;

interface Round extends Load {
  /** From the last answer until all was applied. */
  drainSeconds: number;
  /** The processor time of the server's process for each event, in µs, until all was applied. */
  cpuMicros: number;
}

async function compare(
  heading: string,
  { app, insert, bare }: Receivers,
  pool: pg.Pool,
  send: Send,
  [toInsert, toBare]: readonly [number, number],
): Promise<void> {
  const all = [app, insert, bare];
  const rounds = new Map<Server, Round[]>(all.map((server) => [server, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const server of all) rounds.get(server)?.push(await measure(server, pool, send));
  }
  const middle = (server: Server, of: (round: Round) => number) => median((rounds.get(server) ?? []).map(of));
  const ratio = (of: (round: Round) => number, to: Server) => middle(app, of) / middle(to, of);
  const p99 = (round: Round) => percentile(round, 0.99);
  printTable(
    heading,
    ['receiver', 'stored/s', 'p50 ms', 'p99 ms', 'CPU µs each', 'all applied after s', 'not 200'],
    all.map((server) => [
      server.name,
      middle(server, rate).toFixed(0),
      middle(server, (round) => percentile(round, 0.5)).toFixed(1),
      middle(server, p99).toFixed(1),
      middle(server, ({ cpuMicros }) => cpuMicros).toFixed(0),
      middle(server, ({ drainSeconds }) => drainSeconds).toFixed(2),
      String((rounds.get(server) ?? []).reduce((sum, { refused }) => sum + refused, 0)),
    ]),
  );
  printAims([
    { what: 'stored/s to one INSERT each', figure: ratio(rate, insert), atLeast: toInsert },
    { what: 'stored/s to no database', figure: ratio(rate, bare), atLeast: toBare },
    { what: 'p99 to one INSERT each', figure: ratio(p99, insert), atMost: 1 },
    { what: 'CPU to one INSERT each', figure: ratio(({ cpuMicros }) => cpuMicros, insert), atMost: 0.9 },
  ]);
}

async function measure(server: Server, pool: pg.Pool, send: Send): Promise<Round> {
  const before = await server.usage();
  const load = await send([server], REQUESTS);
  const start = performance.now();
  await isIdle(pool);
  const drainSeconds = (performance.now() - start) / 1_000;
  const after = await server.usage();
  return { ...load, drainSeconds, cpuMicros: (after.cpu - before.cpu) / load.stored };
}

/** Shows whether a second instance helps, where there are cores for it. */
async function compareInstances(app: Server, other: Server, send: Send): Promise<void> {
  const [alone, both]: [number[], number[]] = [[], []];
  await send([app, other], WARM_UP_REQUESTS);
  for (let round = 0; round < ROUNDS; round++) {
    alone.push(rate(await send([app], REQUESTS)));
    both.push(rate(await send([app, other], REQUESTS)));
  }
  const cores = availableParallelism();
  printTable(
    `One instance and two, on one Postgres and ${cores} cores, of accounts that are not linked`,
    ['instances', 'stored/s'],
    [
      ['1', median(alone).toFixed(0)],
      ['2', median(both).toFixed(0)],
    ],
  );
  printAims([
    // Each instance, Postgres and what sends the load take a core each.
    { what: 'two to one', figure: median(both) / median(alone), ...(cores >= 4 && { atLeast: 1.3 }) },
  ]);
}

/** Shows whether the memory stays the same while the events of linked accounts are applied. */
async function sustain(app: Server, pool: pg.Pool, send: Send): Promise<void> {
  const memory: string[][] = [];
  const note = async (when: string): Promise<number> => {
    const { rss, heap } = await app.usage();
    memory.push([when, (rss / 1e6).toFixed(0), (heap / 1e6).toFixed(1)]);
    return heap;
  };
  const loads: Load[] = [];
  const sendFor = async (ms: number) => {
    const end = performance.now() + ms;
    while (performance.now() < end) loads.push(await send([app], REQUESTS));
  };

  await note('start');
  await sendFor(SUSTAINED_MS / 2);
  const middle = await note('middle');
  await sendFor(SUSTAINED_MS / 2);
  const end = await note('end');
  const start = performance.now();
  await isIdle(pool);
  const drainSeconds = (performance.now() - start) / 1_000;
  await note('all applied');
  const refused = loads.reduce((sum, load) => sum + load.refused, 0);
  printTable(
    `${SUSTAINED_MS / 1_000} s of the same`,
    ['stored', 'stored/s', 'p99 ms', 'worst p99 ms', 'not 200', 'all applied after s'],
    [
      [
        String(loads.reduce((sum, load) => sum + load.stored, 0)),
        median(loads.map(rate)).toFixed(0),
        median(loads.map((load) => percentile(load, 0.99))).toFixed(1),
        Math.max(...loads.map((load) => percentile(load, 0.99))).toFixed(1),
        String(refused),
        drainSeconds.toFixed(1),
      ],
    ],
  );
  printTable('Memory of the app, after a collection', ['at', 'RSS MB', 'heap MB'], memory);
  const aims: Aim[] = [
    { what: 'not 200', figure: refused, atMost: 0 },
    { what: 'heap at the end to the middle', figure: end / middle, atMost: 1.05 },
    { what: 'all applied after s', figure: drainSeconds, atMost: 5 },
  ];
  printAims(aims);
}

const rate = ({ stored, seconds }: Load): number => stored / seconds;

function percentile({ latencies }: Load, share: number): number {
  return latencies[Math.floor((latencies.length - 1) * share)] ?? Number.NaN;
}
