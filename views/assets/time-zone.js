// Selects the browser's own time zone if none is selected yet. Without this script the user selects it.

const list = document.getElementById('time-zone');
const own = new Intl.DateTimeFormat().resolvedOptions().timeZone;
if (list?.value === '' && [...list.options].some((option) => option.value === own)) list.value = own;
