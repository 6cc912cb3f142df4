/** What became of one question, over all devices and pages. Nothing in it is a value of Ring's answers. */
export interface Row {
  asked: string;
  answers: number;
  result: 'not asked' | 'fits' | 'not offered here' | 'does not fit';
  /** Statuses, codes, and what else the result needs to be understood. */
  why: Set<string>;
  /** Paths and types of JSON. */
  lost: Set<string>;
  unread: Set<string>;
}

export interface Report {
  rows: Row[];
  /** How far Ring's clock is ahead of ours, in s, by what tells it; undefined where nothing did. */
  clock: { dateHeader: number | undefined; metaTime: number | undefined };
  /** Ring did not take the token, so that nothing could be checked. */
  isTokenRefused: boolean;
}

const SEVERITY: readonly Row['result'][] = ['not asked', 'fits', 'not offered here', 'does not fit'];

export const newRow = (asked: string): Row => ({
  asked,
  answers: 0,
  result: 'not asked',
  why: new Set(),
  lost: new Set(),
  unread: new Set(),
});

/** Notes a result. The worst of several is the row's. */
export function note(row: Row, result: Row['result'], why?: string): void {
  if (SEVERITY.indexOf(result) > SEVERITY.indexOf(row.result)) row.result = result;
  if (why !== undefined) row.why.add(why);
}

export const fits = ({ rows }: Report): boolean => rows.every(({ result }) => result !== 'does not fit');

/** The report as text for a terminal. */
export function reportText(report: Report): string {
  const { rows } = report;
  const width = Math.max(...rows.map(({ asked }) => asked.length));
  const table = rows.map(({ asked, answers, result, why }) => {
    const reasons = why.size === 0 ? '' : ` (${[...why].join(', ')})`;
    return `${asked.padEnd(width)}  ${String(answers).padStart(7)}  ${result}${reasons}`;
  });
  return [
    `${'Asked'.padEnd(width)}  Answers  Result`,
    ...table,
    '',
    ...findings('Not understood', rows, ({ lost }) => lost),
    ...findings('Not read by us, which is no failure', rows, ({ unread }) => unread),
    ...clockLines(report),
    '',
    verdict(report),
  ].join('\n');
}

/** The findings of all rows. Rows with the same ones share them. */
function findings(title: string, rows: readonly Row[], of: (row: Row) => ReadonlySet<string>): string[] {
  const askedBy = new Map<string, string[]>();
  for (const row of rows.filter((one) => of(one).size > 0)) {
    const lines = [...of(row)].sort().map((finding) => `    ${finding}`);
    askedBy.set(lines.join('\n'), [...(askedBy.get(lines.join('\n')) ?? []), `  ${row.asked}`]);
  }
  if (askedBy.size === 0) return [];
  return [`${title}:`, ...[...askedBy].flatMap(([lines, asked]) => [...asked, lines]), ''];
}

function clockLines({ clock }: Report): string[] {
  return [
    `Ring's clock, by its Date header: ${difference(clock.dateHeader)}`,
    `Ring's clock, by meta.time:       ${difference(clock.metaTime)}`,
  ];
}

function difference(seconds: number | undefined): string {
  if (seconds === undefined) return 'not told';
  if (seconds === 0) return 'as ours, to the second';
  return `${Math.abs(seconds)} s ${seconds > 0 ? 'ahead of' : 'behind'} ours`;
}

function verdict(report: Report): string {
  if (report.rows.every(({ answers }) => answers === 0)) {
    return 'Ring has answered nothing: is RING_API_URL right, and can it be reached from here?';
  }
  const count = (result: Row['result']): number => report.rows.filter((row) => row.result === result).length;
  const unasked = count('not asked') === 0 ? '' : `, ${count('not asked')} could not be asked`;
  const summary = `${count('fits')} fit, ${count('not offered here')} not offered here, ${count('does not fit')} do not fit${unasked}.`;
  return fits(report) ? `Everything that was answered fits: ${summary}` : `Something does not fit: ${summary}`;
}
