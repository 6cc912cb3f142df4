import cron from 'node-cron';

/** Lets a clock of every running instance tick now, as it would by itself within a minute. Does not wait for its work. */
export async function tick(name: string): Promise<void> {
  const tasks = [...cron.getTasks().values()].filter((task) => task.name === name);
  if (tasks.length === 0) throw new Error(`no instance has a clock "${name}"`);
  await Promise.all(tasks.map((task) => task.execute()));
}
