// Adds events to the list as they happen. The server only says that there is news, and this page is fetched again to
// read it. Without this script, reloading the page does the same.

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
/** The number of events added since this page was opened. */
let added = 0;
let hasGap = false;

/** Connects while the page is visible only, because a browser has few connections for all its pages. */
function connect() {
  disconnect();
  if (document.hidden || isOutOfDate) return;
  stream = new EventSource('/events/stream');
  stream.addEventListener('message', look);
  stream.addEventListener('error', () => {
    // The browser connects again by itself, unless the server refused.
    if (stream.readyState !== EventSource.CLOSED) return;
    retry = setTimeout(connect, RETRY_MS);
    look();
  });
}

function disconnect() {
  clearTimeout(retry);
  stream?.close();
}

/** Looks for news at once, and less and less often while news keeps coming. */
async function look() {
  hasNews = true;
  if (isLooking) return;
  isLooking = true;
  let pauseMs = SHORTEST_PAUSE_MS;
  try {
    while (hasNews && !document.hidden) {
      hasNews = false;
      const fresh = await fetchEvents();
      if (fresh) {
        // First, because showing the events moves them out of the fresh page.
        const missed = missedIn(fresh);
        show(fresh);
        showMissed(missed);
      }
      // News that could not be fetched is still news.
      else hasNews = !isOutOfDate;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
    }
  } finally {
    isLooking = false;
  }
}

/** The events of this page as they are now; undefined if they can't be fetched. */
async function fetchEvents() {
  const signal = AbortSignal.timeout(FETCH_LIMIT_MS);
  const response = await fetch(location.href, { cache: 'no-store', signal }).catch(() => undefined);
  const isForUs = response?.ok && !response.redirected;
  const text = isForUs && (await response.text().catch(() => undefined));
  if (text) return new DOMParser().parseFromString(text, 'text/html').getElementById('events');
  // The user has signed out, or the device has gone. Any other failure passes.
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
  // The last device has gone, and all its events with it.
  if (knew && known.size === 0) {
    events.replaceChildren(...fresh.children);
    return;
  }
  const rows = rowsOf(fresh).filter((row) => known.has(row.id) || !isOlder(row, known));
  const unknown = rows.filter(({ id }) => !known.has(id));
  if (unknown.length === 0) return;
  const isConnected = unknown.length < rows.length;
  if (isConnected) keepingPlace(() => insert(rows, known));
  // More than a page of events has happened: the old rows would leave a gap.
  else events.replaceChildren(...fresh.children);
  for (const row of unknown) row.classList.add('is-new');
  added += unknown.length;
  hasGap ||= knew && !isConnected;
  status.textContent = `${hasGap ? 'At least ' : ''}${added} new ${added === 1 ? 'event' : 'events'} since you opened this page`;
}

/** The lines which say that events may be missing, each with the ID of the event below it. */
function missedIn(fresh) {
  return [...fresh.querySelectorAll('.missed')].map((line) => {
    let below = line.nextElementSibling;
    while (below && !below.matches('.event')) below = below.nextElementSibling;
    return { line, belowId: below?.id };
  });
}

function showMissed(lines) {
  const list = events.querySelector('.events');
  if (!list) return;
  for (const line of list.querySelectorAll('.missed')) line.remove();
  for (const { line, belowId } of lines) list.insertBefore(line, belowId ? document.getElementById(belowId) : null);
  if (list.childElementCount === 0) list.remove();
}

/**
 * Removes the events that were erased with their device, one by one because of the focus. Only events beyond the fresh
 * page may be missing from it.
 */
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

/** True if the row is only found behind the link to older events: that row has moved up after a removal. */
function isOlder(row, known) {
  return events.querySelector('[rel=next]') && timeOf(row) < timeOf([...known.values()].at(-1));
}

/** ISO 8601, so that the order of the texts is the order of the times. */
const timeOf = (row) => row.querySelector('time').dateTime;

/**
 * Existing rows stay as they are, and with them the focus. The list only grows, so that the link to older events stays
 * right.
 */
function insert(rows, known) {
  const list = events.querySelector('.events');
  let next = list.firstElementChild;
  for (const row of rows) {
    const here = known.get(row.id);
    if (here) next = here.nextElementSibling;
    else list.insertBefore(row, next);
  }
}

/** Keeps the row that is being read where it is. Most browsers do so by themselves. */
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
// The page is back from the browser's memory, which closes event streams.
addEventListener('pageshow', ({ persisted }) => persisted && connect());
connect();
