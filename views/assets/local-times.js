// Shows every time on the page in its reader's time zone and language. Without this script each time names its zone.

const format = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
const { locale } = format.resolvedOptions();
const written = new WeakSet();

function writeTimes() {
  for (const time of document.querySelectorAll('time[datetime*="T"]')) {
    if (written.has(time)) continue;
    written.add(time);
    time.textContent = format.format(new Date(time.dateTime));
    // The page is in English, whatever the reader's language, so a screen reader needs the language of the time.
    time.lang = locale;
  }
}

writeTimes();
// Other scripts add times later.
new MutationObserver(writeTimes).observe(document.body, { childList: true, subtree: true });
