/** The reports of one event by its webhook and by Ring's history are at most this far apart, in ms. */
export const SAME_EVENT_MS = 5_000;

interface Report {
  at: Date;
  /** Decides the order of reports of the same moment, so that the same reports are always paired alike. */
  id: string;
}

/**
 * Pairs what webhooks and Ring's history have told of one kind of event at one device. Each report is in one pair at most.
 * There are as many pairs as possible, and of those choices it is the one with the least time between the two of a pair, so
 * the order in which the reports came does not matter.
 *
 * @see https://developer.amazon.com/docs/ring/api-documentation.html
 */
export function pairReports<Webhook extends Report, Entry extends Report>(
  webhooks: readonly Webhook[],
  entries: readonly Entry[],
): Map<Entry, Webhook> {
  const pairs = new Map<Entry, Webhook>();
  for (const group of groupsOf(webhooks, entries)) {
    for (const [entry, webhook] of bestPairs(group.webhooks, group.entries)) pairs.set(entry, webhook);
  }
  return pairs;
}

interface Group<Webhook, Entry> {
  webhooks: Webhook[];
  entries: Entry[];
}

/** Splits the reports wherever there was nothing for so long that a pair can't reach across. */
function groupsOf<Webhook extends Report, Entry extends Report>(
  webhooks: readonly Webhook[],
  entries: readonly Entry[],
): Group<Webhook, Entry>[] {
  const all = [
    ...webhooks.map((webhook) => ({ report: webhook, add: (to: Group<Webhook, Entry>) => to.webhooks.push(webhook) })),
    ...entries.map((entry) => ({ report: entry, add: (to: Group<Webhook, Entry>) => to.entries.push(entry) })),
  ].sort((a, b) => inOrder(a.report, b.report));
  const groups: Group<Webhook, Entry>[] = [];
  let last = -Infinity;
  for (const { report, add } of all) {
    const at = report.at.getTime();
    if (at - last > SAME_EVENT_MS) groups.push({ webhooks: [], entries: [] });
    const group = groups.at(-1);
    if (group !== undefined) add(group);
    last = at;
  }
  return groups;
}

const inOrder = (a: Report, b: Report): number => a.at.getTime() - b.at.getTime() || (a.id < b.id ? -1 : 1);

/** A choice of pairs, as a list from the last to the first. */
interface Choice<Webhook, Entry> {
  count: number;
  apartMs: number;
  last: { pair: [Entry, Webhook]; before: Choice<Webhook, Entry> } | undefined;
}

/**
 * The best choice, found by way of the best for the first reports of each side. No pairs of it cross: uncrossing two makes
 * neither longer than the longer one was.
 */
function bestPairs<Webhook extends Report, Entry extends Report>(
  webhooks: readonly Webhook[],
  entries: readonly Entry[],
): [Entry, Webhook][] {
  const none: Choice<Webhook, Entry> = { count: 0, apartMs: 0, last: undefined };
  let above = Array.from({ length: entries.length + 1 }, () => none);
  for (const webhook of webhooks) {
    const row = [none];
    for (const [index, entry] of entries.entries()) {
      let best = better(above[index + 1] ?? none, row[index] ?? none);
      const apartMs = Math.abs(webhook.at.getTime() - entry.at.getTime());
      if (apartMs <= SAME_EVENT_MS) {
        const before = above[index] ?? none;
        const last = { pair: [entry, webhook] as [Entry, Webhook], before };
        best = better(best, { count: before.count + 1, apartMs: before.apartMs + apartMs, last });
      }
      row.push(best);
    }
    above = row;
  }
  const pairs: [Entry, Webhook][] = [];
  for (let choice = above.at(-1); choice?.last !== undefined; choice = choice.last.before) pairs.push(choice.last.pair);
  return pairs;
}

function better<Some extends Choice<unknown, unknown>>(one: Some, other: Some): Some {
  if (one.count !== other.count) return one.count > other.count ? one : other;
  return other.apartMs < one.apartMs ? other : one;
}
