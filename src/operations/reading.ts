import type { PoolClient } from 'pg';
import { Gauge, type Registry } from 'prom-client';

/** What is read from the database together, and is there or not there together. */
export interface Reading {
  name: string;
  registry: Registry;
  /** Reads it all, then sets the gauges. Ages are reckoned to `now`. */
  read: (client: PoolClient, now: Date) => Promise<void>;
}

export interface Count {
  label: string;
  count: number;
}

export interface Waiting extends Count {
  /** Of the oldest, in seconds. */
  age: number;
}

export function gaugesOf(registry: Registry): (name: string, help: string, ...labelNames: string[]) => Gauge {
  return (name, help, ...labelNames) => new Gauge({ name, help, labelNames, registers: [registry] });
}

/** SQL: the seconds from a time to the first parameter, 0 when there is none or it has not come yet. */
export const ageSql = (time: string): string => `greatest(0, coalesce(extract(epoch FROM $1 - ${time}), 0))::float`;

export const countOf = (counts: readonly Count[], label: string): number =>
  counts.find((one) => one.label === label)?.count ?? 0;

export const ageOf = (waiting: readonly Waiting[], label: string): number =>
  waiting.find((one) => one.label === label)?.age ?? 0;
