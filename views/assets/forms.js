// While the server works on an answer (linking can take some 20 s), the page says so and sends no form twice. Without
// this script every form still works: the server makes a second sending harmless.

const GIVE_UP_AFTER_MS = 30_000;

let waiting = null;
let giveUpTimer;

function startWaiting(form) {
  waiting = form;
  form.classList.add('is-waiting');
  form.setAttribute('aria-busy', 'true');
  // The buttons are not set to `disabled`, because the one just pressed would lose the keyboard focus.
  for (const button of document.querySelectorAll('button[type="submit"]')) button.setAttribute('aria-disabled', 'true');
  say(form, form.dataset.waitMessage);
  giveUpTimer = setTimeout(() => {
    stopWaiting();
    say(form, 'This is taking longer than usual. Please check your connection and try again.');
  }, GIVE_UP_AFTER_MS);
}

function stopWaiting() {
  if (!waiting) return;
  clearTimeout(giveUpTimer);
  waiting.classList.remove('is-waiting');
  waiting.removeAttribute('aria-busy');
  for (const button of document.querySelectorAll('button[type="submit"]')) button.removeAttribute('aria-disabled');
  say(waiting, '');
  waiting = null;
}

function say(form, message) {
  const status = form.querySelector('[role="status"]');
  if (status) status.textContent = message;
}

document.addEventListener('submit', (event) => {
  if (waiting) event.preventDefault();
  else if (event.target.dataset.waitMessage) startWaiting(event.target);
});

// The browser's "back" may bring this page back as it was left: waiting.
addEventListener('pageshow', (event) => {
  if (event.persisted) stopWaiting();
});
