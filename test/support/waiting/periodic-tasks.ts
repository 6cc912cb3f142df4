import cron from 'node-cron';
import { scrape } from '../inspection/metrics.js';
import { until } from './until.js';

/**
 * Runs a periodic task of every running instance now, as it would run by itself within a minute. Does not wait for its
 * work.
 */
export async function tick(name: string): Promise<void> {
  const tasks = [...cron.getTasks().values()].filter((task) => task.name === name);
  if (tasks.length === 0) throw new Error(`no instance has a periodic task "${name}"`);
  await Promise.all(tasks.map((task) => task.execute()));
}

/** Like {@link tick}, and waits until the task has run on each of these instances: only then is it sure what it left alone. */
export async function tickAndFinish(name: string, ...instances: string[]): Promise<void> {
  const series = `ring_link_clock_ticks_total{clock="${name}",outcome="done"}`;
  const runs = () => Promise.all(instances.map(async (url) => (await scrape(url)).count(series)));
  const before = await runs();
  await tick(name);
  await until(`"${name}" has run`, async () => (await runs()).every((count, at) => count > Number(before[at])));
}
