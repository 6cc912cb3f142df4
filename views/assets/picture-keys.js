// The arrow keys turn to the pictures beside this one, and Escape closes it. Without this script, the links do the same.

const LINKS = { ArrowLeft: 'a[rel="prev"]', ArrowRight: 'a[rel="next"]', Escape: '.back a' };

addEventListener('keydown', (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  document.querySelector(LINKS[event.key] ?? 'no-link')?.click();
});
