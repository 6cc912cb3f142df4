/** The simulator as a process of its own. */
import { readEnvironment } from './environment.js';
import { startSimulator } from './simulator.js';

const reading = readEnvironment(process.env);
if (reading.kind === 'bad') {
  process.stderr.write(`${reading.problems.join('\n')}\n`);
  process.exitCode = 1;
} else {
  const writeLine = (line: string): void => {
    process.stdout.write(`${line}\n`);
  };
  const simulator = await startSimulator({ ...reading.options, automaticWebhooks: true, log: writeLine });
  process.once('SIGTERM', () => void simulator.close());
  process.once('SIGINT', () => void simulator.close());
  writeLine(`Ring simulator: ${simulator.url}`);
}
