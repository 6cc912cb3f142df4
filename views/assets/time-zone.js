// Chooses the browser's own time zone where none is chosen yet. Without this script it is chosen by hand.

const list = document.getElementById('time-zone');
const own = new Intl.DateTimeFormat().resolvedOptions().timeZone;
if (list?.value === '' && [...list.options].some((option) => option.value === own)) list.value = own;
