// Adds events to the list as they happen. The server only says that there is news; what it is, this very page says when it
// is asked for again. Without this script, reloading the page does the same.

const RETRY_MS = 30_000;
const SHORTEST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 8_000;

const events = document.getElementById('events');
const status = document.getElementById('news');
let stream;
let retry;
let hasNews = false;
let isLooking = false;
let isOutOfDate = false;
let added = 0;

/** Only while somebody can see it: a browser has few connections for all its pages. */
function connect() {
  disconnect();
  if (document.hidden || isOutOfDate) return;
  stream = new window.EventSource('/events/stream');
  stream.addEventListener('message', look);
  stream.addEventListener('error', () => {
    // The browser connects again by itself, unless the server said no.
    if (stream.readyState !== window.EventSource.CLOSED) return;
    retry = window.setTimeout(connect, RETRY_MS);
    look();
  });
}

function disconnect() {
  window.clearTimeout(retry);
  stream?.close();
}

/** At once, but while news keeps coming less and less often. */
async function look() {
  hasNews = true;
  if (isLooking) return;
  isLooking = true;
  for (
    let pauseMs = SHORTEST_PAUSE_MS;
    hasNews && !document.hidden;
    pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)
  ) {
    hasNews = false;
    const page = await fetchPage();
    if (page) show(page);
    await new Promise((resolve) => window.setTimeout(resolve, pauseMs));
  }
  isLooking = false;
}

/** This page as it is now; nothing when that can't be known. */
async function fetchPage() {
  const response = await window.fetch(window.location.href, { cache: 'no-store' }).catch(() => undefined);
  const isForUs = response?.ok && !response.redirected;
  if (isForUs) return new window.DOMParser().parseFromString(await response.text(), 'text/html');
  // Signed out, or the device has gone. Anything else passes.
  if (response && (response.redirected || [400, 401, 403, 404].includes(response.status))) {
    isOutOfDate = true;
    disconnect();
    status.textContent = 'This page is no longer up to date. Reload it to go on.';
  }
  return undefined;
}

function show(page) {
  const fresh = page.getElementById('events');
  const known = new Map(rowsOf(events).map((row) => [row.id, row]));
  const rows = rowsOf(fresh);
  if (hasLost(known, rows, fresh)) {
    events.replaceChildren(...fresh.children);
    return;
  }
  const unknown = rows.filter(({ id }) => !known.has(id));
  if (unknown.length === 0) return;
  const isConnected = unknown.length < rows.length;
  if (isConnected) keepingPlace(() => insert(rows, known));
  // More than a page has happened: what is here would leave a gap.
  else events.replaceChildren(...fresh.children);
  for (const row of unknown) row.classList.add('is-new');
  added += unknown.length;
  const atLeast = known.size > 0 && !isConnected ? 'At least ' : '';
  status.textContent = `${atLeast}${added} new ${added === 1 ? 'event' : 'events'} since you opened this page`;
}

/** Whether something is still here that went with its device: only what lies beyond the fresh page may be missing there. */
function hasLost(known, rows, fresh) {
  const present = new Set(rows.map(({ id }) => id));
  const end = fresh.querySelector('[rel=next]') ? timeOf(rows.at(-1)) : '';
  return [...known.values()].some((row) => !present.has(row.id) && timeOf(row) > end);
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
  if (window.CSS.supports('overflow-anchor', 'auto') || window.scrollY === 0) return;
  window.scrollBy(0, first.getBoundingClientRect().top - before);
}

function rowsOf(element) {
  return [...element.querySelectorAll('.event')];
}

document.addEventListener('visibilitychange', connect);
connect();
