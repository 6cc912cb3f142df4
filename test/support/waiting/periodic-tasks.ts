import cron from 'node-cron';

/**
 * Runs a periodic task of every running instance now, as it would run by itself within a minute. Does not wait for its
 * work.
 */
export async function tick(name: string): Promise<void> {
  const tasks = [...cron.getTasks().values()].filter((task) => task.name === name);
  if (tasks.length === 0) throw new Error(`no instance has a periodic task "${name}"`);
  await Promise.all(tasks.map((task) => task.execute()));
}
