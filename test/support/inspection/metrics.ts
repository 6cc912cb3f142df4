/** The result of one scrape: the value of each series, by its name and its labels in alphabetical order. */
export class Scrape {
  readonly #values = new Map<string, number>();

  constructor(readonly text: string) {
    for (const line of text.split('\n')) {
      const [, name = '', labels = '', value = ''] = /^([a-z_0-9]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
      if (name !== '') this.#values.set(seriesOf(name, labels), Number(value));
    }
  }

  /**
   * The value of a series written as `name{label="value"}`, labels in alphabetical order; undefined if it is missing.
   */
  value(series: string): number | undefined {
    return this.#values.get(series);
  }

  /** Like {@link value}, but 0 if it is missing: a counter that has not begun. */
  count(series: string): number {
    return this.value(series) ?? 0;
  }

  /** Every value that a label has, of all series with this name. */
  labelValues(name: string, label: string): Set<string> {
    const found = new Set<string>();
    for (const series of this.#values.keys()) {
      if (!series.startsWith(`${name}{`)) continue;
      for (const [key, value] of labelsOf(series.slice(name.length + 1, -1))) if (key === label) found.add(value);
    }
    return found;
  }

  /** The names of all series. */
  names(): Set<string> {
    return new Set([...this.#values.keys()].map((series) => series.split('{', 1)[0] ?? ''));
  }

  get size(): number {
    return this.#values.size;
  }
}

function seriesOf(name: string, labels: string): string {
  if (labels === '') return name;
  const sorted = labelsOf(labels).map(([key, value]) => `${key}="${value}"`);
  return `${name}{${sorted.sort().join(',')}}`;
}

const labelsOf = (labels: string): [string, string][] =>
  [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key = '', value = '']) => [key, value]);

/** Scrapes an instance as Prometheus would. */
export async function scrape(url: string, token?: string): Promise<Scrape> {
  const response = await fetch(`${url}/metrics`, {
    headers: { ...(token !== undefined && { authorization: `Bearer ${token}` }) },
  });
  if (response.status !== 200) throw new Error(`/metrics answers ${response.status}`);
  return new Scrape(await response.text());
}
