import { readFileSync } from 'node:fs';

/** An answer of the real Ring, byte for byte. The compiled tests stand elsewhere, so it is read from the root. */
export function recordedAnswer(name: 'devices' | 'history-on-demand'): string {
  return readFileSync(`test/simulator/recorded/${name}.json`, 'utf8');
}
