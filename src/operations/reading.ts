import type { PoolClient } from 'pg';
import { Gauge, type Registry } from 'prom-client';
import { type Sql, sql } from '../database/sql.js';

/** Gauges that are read from the database together. When that fails, all of them are missing. */
export interface Reading {
  name: string;
  registry: Registry;
  /** Reads all values, then sets the gauges. Ages are as of `now`. */
  read: (client: PoolClient, now: Date) => Promise<void>;
}

export interface Count {
  label: string;
  count: number;
}

export interface Waiting extends Count {
  /** The age of the oldest, in seconds. */
  age: number;
}

export function gaugesOf(registry: Registry): (name: string, help: string, ...labelNames: string[]) => Gauge {
  return (name, help, ...labelNames) => new Gauge({ name, help, labelNames, registers: [registry] });
}

/** SQL: the seconds from `time` until `now`; 0 when `time` is null or later. */
export const secondsSince = (time: Sql, now: Date): Sql =>
  sql`greatest(0, coalesce(extract(epoch FROM ${now} - ${time}), 0))::float`;

export const countOf = (counts: readonly Count[], label: string): number =>
  counts.find((one) => one.label === label)?.count ?? 0;

export const ageOf = (waiting: readonly Waiting[], label: string): number =>
  waiting.find((one) => one.label === label)?.age ?? 0;
