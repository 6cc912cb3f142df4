/** Names that begin so are meant for us, whatever follows. */
const OUR_PREFIXES: readonly string[] = ['RING_'];
/** In production an environment is made for one service, so these are ours there. A desktop has a SESSION_MANAGER. */
const OUR_PREFIXES_IN_PRODUCTION: readonly string[] = [...OUR_PREFIXES, 'TOKEN_', 'SESSION_'];

/** Read by a command of ours, and not by the service. */
const OF_COMMANDS: readonly string[] = ['RING_PLAYGROUND_TOKEN'];

/** What Kubernetes sets for each service of a namespace, which may be named as our variables begin. */
const OF_KUBERNETES = /_SERVICE_(?:HOST|PORT(?:_\w+)?)$|_PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?$/;
const KUBERNETES_ADDRESS = /^(?:tcp|udp|sctp):\/\//;

/** A shorter name, such as PORT, is near too many others. */
const SHORTEST = 6;

/**
 * The variables that look like misspelt ones of ours.
 *
 * @param given the variables that are set
 * @param known the names that the service reads
 * @returns each with the names that may be meant
 */
export function misspeltVariables(
  given: Readonly<Record<string, string>>,
  known: readonly string[],
  production: boolean,
): { name: string; meant: string[] }[] {
  const ours = new Set([...known, ...OF_COMMANDS]);
  const prefixes = production ? OUR_PREFIXES_IN_PRODUCTION : OUR_PREFIXES;
  return Object.entries(given).flatMap(([name, value]) => {
    // A name of another form is nobody's typing error, and not to be repeated.
    if (ours.has(name) || !/^[A-Za-z][\w.-]{3,63}$/.test(name)) return [];
    if (OF_KUBERNETES.test(name) || (name.endsWith('_PORT') && KUBERNETES_ADDRESS.test(value))) return [];
    const prefix = prefixes.find((one) => name.toUpperCase().startsWith(one));
    // Beside the variable itself, one of a similar name is another program's.
    const near = nearest(name, prefix === undefined ? known.filter((one) => given[one] === undefined) : known);
    if (near !== undefined) return [{ name, meant: [near] }];
    return prefix === undefined ? [] : [{ name, meant: known.filter((one) => one.startsWith(prefix)) }];
  });
}

/** The name of ours that another one was most likely to be; undefined when it is near to none. */
function nearest(name: string, known: readonly string[]): string | undefined {
  const best = known
    .filter((one) => one.length >= SHORTEST)
    .map((one) => ({ one, distance: distance(core(name), core(one)) - Math.floor(core(one).length / 5) }))
    .sort((a, b) => a.distance - b.distance)[0];
  return best !== undefined && best.distance <= 0 ? best.one : undefined;
}

/** A name without what people vary: upper and lower case, what joins the words, the plural. */
function core(name: string): string {
  return name
    .toUpperCase()
    .replaceAll(/[^A-Z0-9]/g, '')
    .replace(/IES$/, 'Y')
    .replace(/S$/, '');
}

/** How many letters are missing, too many, wrong, or changed places with their neighbours. */
function distance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1];
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row[j] = Math.min(
        (last[j] ?? 0) + 1,
        (row[j - 1] ?? 0) + 1,
        (last[j - 1] ?? 0) + (isSame ? 0 : 1),
        isSwapped ? (beforeLast[j - 2] ?? 0) + 1 : Infinity,
      );
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length] ?? 0;
}
