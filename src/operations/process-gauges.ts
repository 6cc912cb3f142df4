import { Gauge, type Registry } from 'prom-client';
import type { Database } from '../database/database.js';
import type { Passwords } from '../users/passwords.js';
import type { Readiness } from './health.js';

export interface ProcessGaugeOptions {
  readiness: Readiness;
  database: Pick<Database, 'usage'>;
  passwords: Pick<Passwords, 'usage'>;
  /** How long the database is waited for, in ms. */
  limitMs: number;
}

/** Adds the gauges of this process at the moment: whether it is ready, and how busy its connections and threads are. */
export function addProcessGauges(
  registry: Registry,
  { readiness, database, passwords, limitMs }: ProcessGaugeOptions,
): void {
  const registers = [registry];
  new Gauge({
    name: 'ring_link_ready',
    help: 'What /readyz says: 1 when this instance has what it needs, by check.',
    labelNames: ['check'],
    registers,
    async collect() {
      for (const [check, result] of Object.entries(await readiness(limitMs))) {
        this.set({ check }, result === 'ok' ? 1 : 0);
      }
    },
  });
  new Gauge({
    name: 'ring_link_database_connections',
    help: 'Connections to Postgres that this process holds, by pool and state.',
    labelNames: ['pool', 'state'],
    registers,
    collect() {
      for (const { pool, inUse, idle } of database.usage()) {
        this.set({ pool, state: 'in_use' }, inUse);
        this.set({ pool, state: 'idle' }, idle);
      }
    },
  });
  new Gauge({
    name: 'ring_link_database_connections_limit',
    help: 'Connections to Postgres that this process may open, by pool.',
    labelNames: ['pool'],
    registers,
    collect() {
      for (const { pool, limit } of database.usage()) this.set({ pool }, limit);
    },
  });
  new Gauge({
    name: 'ring_link_database_waiting',
    help: 'How many wait in this process for a connection to Postgres, by pool.',
    labelNames: ['pool'],
    registers,
    collect() {
      for (const { pool, waiting } of database.usage()) this.set({ pool }, waiting);
    },
  });
  new Gauge({
    name: 'ring_link_password_hashes',
    help: 'Passwords that are being hashed, or wait for it, by state. Sign-ins beyond those that may wait are answered 503.',
    labelNames: ['state'],
    registers,
    collect() {
      for (const [state, count] of Object.entries(passwords.usage())) this.set({ state }, count);
    },
  });
}
