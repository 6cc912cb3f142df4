// Adds events to the list as they happen. The server only says that there is news; what it is, this very page says when it
// is asked for again. Without this script, reloading the page does the same.

const RETRY_MS = 30_000;
const FETCH_LIMIT_MS = 10_000;
const SHORTEST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8_000;

const events = document.getElementById('events');
const status = document.getElementById('news');
let stream;
let retry;
let hasNews = false;
let isLooking = false;
let isOutOfDate = false;
/** Of what has happened since this page was opened. */
let added = 0;
let hasGap = false;

/** Only while somebody can see it: a browser has few connections for all its pages. */
function connect() {
  disconnect();
  if (document.hidden || isOutOfDate) return;
  stream = new EventSource('/events/stream');
  stream.addEventListener('message', look);
  stream.addEventListener('error', () => {
    // The browser connects again by itself, unless the server said no.
    if (stream.readyState !== EventSource.CLOSED) return;
    retry = setTimeout(connect, RETRY_MS);
    look();
  });
}

function disconnect() {
  clearTimeout(retry);
  stream?.close();
}

/** At once, but while news keeps coming less and less often. */
async function look() {
  hasNews = true;
  if (isLooking) return;
  isLooking = true;
  let pauseMs = SHORTEST_PAUSE_MS;
  try {
    while (hasNews && !document.hidden) {
      hasNews = false;
      const fresh = await fetchEvents();
      if (fresh) show(fresh);
      // What did not come is still news.
      else hasNews = !isOutOfDate;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
    }
  } finally {
    isLooking = false;
  }
}

/** The events of this page as they are now; nothing when that can't be known. */
async function fetchEvents() {
  const signal = AbortSignal.timeout(FETCH_LIMIT_MS);
  const response = await fetch(location.href, { cache: 'no-store', signal }).catch(() => undefined);
  const isForUs = response?.ok && !response.redirected;
  const text = isForUs && (await response.text().catch(() => undefined));
  if (text) return new DOMParser().parseFromString(text, 'text/html').getElementById('events');
  // Signed out, or the device has gone. Anything else passes.
  if (response && (response.redirected || [400, 401, 403, 404].includes(response.status))) {
    isOutOfDate = true;
    disconnect();
    status.textContent = 'This page is no longer up to date. Reload it to go on.';
  }
  return undefined;
}

function show(fresh) {
  const known = new Map(rowsOf(events).map((row) => [row.id, row]));
  const knew = known.size > 0;
  removeLost(known, fresh);
  // The last device is gone, and all it told.
  if (knew && known.size === 0) {
    events.replaceChildren(...fresh.children);
    return;
  }
  const rows = rowsOf(fresh).filter((row) => known.has(row.id) || !isOlder(row, known));
  const unknown = rows.filter(({ id }) => !known.has(id));
  if (unknown.length === 0) return;
  const isConnected = unknown.length < rows.length;
  if (isConnected) keepingPlace(() => insert(rows, known));
  // More than a page has happened: what is here would leave a gap.
  else events.replaceChildren(...fresh.children);
  for (const row of unknown) row.classList.add('is-new');
  added += unknown.length;
  hasGap ||= knew && !isConnected;
  status.textContent = `${hasGap ? 'At least ' : ''}${added} new ${added === 1 ? 'event' : 'events'} since you opened this page`;
}

/** Takes away what went with its device, row by row for the focus; only what lies beyond the fresh page may be missing there. */
function removeLost(known, fresh) {
  const rows = rowsOf(fresh);
  const present = new Set(rows.map(({ id }) => id));
  const end = fresh.querySelector('[rel=next]') ? timeOf(rows.at(-1)) : '';
  for (const [id, row] of known) {
    if (present.has(id) || timeOf(row) <= end) continue;
    row.remove();
    known.delete(id);
  }
}

/** Whether the link to older events leads to it: it has moved up for what was taken away. */
function isOlder(row, known) {
  return events.querySelector('[rel=next]') && timeOf(row) < timeOf([...known.values()].at(-1));
}

/** ISO 8601, so that texts compare as times do. */
const timeOf = (row) => row.querySelector('time').dateTime;

/** What is there stays as it is, and with it the focus; the list only grows, so that the link to older events goes on right. */
function insert(rows, known) {
  const list = events.querySelector('.events');
  let next = list.firstElementChild;
  for (const row of rows) {
    const here = known.get(row.id);
    if (here) next = here.nextElementSibling;
    else list.insertBefore(row, next);
  }
}

/** Most browsers keep by themselves what is being read where it is. */
function keepingPlace(change) {
  const [first] = rowsOf(events);
  const before = first.getBoundingClientRect().top;
  change();
  if (CSS.supports('overflow-anchor', 'auto') || scrollY === 0) return;
  scrollBy(0, first.getBoundingClientRect().top - before);
}

function rowsOf(element) {
  return [...element.querySelectorAll('.event')];
}

document.addEventListener('visibilitychange', connect);
// Back from the browser's memory, where streams are cut.
addEventListener('pageshow', ({ persisted }) => persisted && connect());
connect();
