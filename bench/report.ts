/** The median: one slow round says more about the machine than about the code. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** The duration of a call in ms. */
export async function timed(run: () => unknown): Promise<number> {
  const start = performance.now();
  await run();
  return performance.now() - start;
}

export interface Aim {
  what: string;
  figure: number;
  atLeast?: number;
  atMost?: number;
}

/** Prints figures beside what they should be. */
export function printAims(aims: readonly Aim[]): void {
  printTable(
    'Aims',
    ['what', 'measured', 'aim', ''],
    aims.map(({ what, figure, atLeast, atMost }) => [
      what,
      figure.toFixed(2),
      atLeast !== undefined ? `at least ${atLeast}` : atMost !== undefined ? `at most ${atMost}` : 'none here',
      figure >= (atLeast ?? -Infinity) && figure <= (atMost ?? Infinity) ? '' : 'missed',
    ]),
  );
}

export function print(line = ''): void {
  process.stdout.write(`${line}\n`);
}

/** Prints rows under a heading, in aligned columns. */
export function printTable(heading: string, columns: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = columns.map((column, index) => Math.max(column.length, ...rows.map((row) => row[index]?.length ?? 0)));
  const line = (cells: readonly string[]) => cells.map((cell, index) => cell.padStart(widths[index] ?? 0)).join('   ');
  print(heading);
  print(line(columns));
  for (const row of rows) print(line(row));
  print();
}
