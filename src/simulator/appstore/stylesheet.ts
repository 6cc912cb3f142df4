/** The one stylesheet of the simulator's pages. */
export const STYLESHEET = `:root {
  color-scheme: light dark;
  --ink: light-dark(#22262b, #e8eaec);
  --soft-ink: light-dark(#545b63, #aeb5bc);
  --ground: light-dark(#f5f5f2, #16191c);
  --panel: light-dark(#ffffff, #1f2327);
  --line: light-dark(#d5d7d4, #3a4046);
  --edge: light-dark(#757d85, #8b939b);
  --accent: light-dark(#4a3a7d, #c3b5f5);
  --on-accent: light-dark(#ffffff, #1b1430);
  --notice: light-dark(#f3ead0, #3a321b);
  --alert: light-dark(#8f1d1d, #ffb3ab);
  --good: light-dark(#1d6134, #9bdcae);
}
*,
*::before,
*::after {
  box-sizing: border-box;
}
body {
  margin: 0;
  background: var(--ground);
  color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif;
}
header {
  background: var(--panel);
  border-bottom: 1px solid var(--line);
}
header .inner,
main,
.notice {
  padding-inline: max(1rem, calc((100% - 60rem) / 2));
}
header .inner {
  display: flex;
  flex-wrap: wrap;
  gap: 0 1.5rem;
  align-items: center;
  justify-content: space-between;
  padding-block: 0.5rem;
}
header p {
  margin: 0;
}
header a {
  display: inline-block;
  padding-block: 0.35rem;
}
nav {
  display: flex;
  flex-wrap: wrap;
  gap: 0 1.25rem;
}
nav a {
  white-space: nowrap;
}
.name a {
  color: inherit;
  font-weight: 650;
  text-decoration: none;
}
.notice {
  max-width: none;
  padding-block: 0.35rem;
  background: var(--notice);
  font-size: 0.9rem;
}
main {
  padding-block: 1.5rem 3rem;
}
h1 {
  margin: 0 0 0.5rem;
  font-size: 1.6rem;
  line-height: 1.25;
  overflow-wrap: anywhere;
}
h2 {
  margin: 0 0 0.5rem;
  font-size: 1.15rem;
  overflow-wrap: anywhere;
}
h3 {
  margin: 1rem 0 0.25rem;
  font-size: 1rem;
}
p {
  margin: 0 0 0.75rem;
  max-width: 42rem;
}
a {
  color: var(--accent);
}
.panel {
  max-width: 42rem;
  margin-block: 1.25rem;
  padding: 1.25rem;
  background: var(--panel);
  border: 1px solid var(--line);
  border-radius: 0.6rem;
}
.cards {
  display: grid;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr));
  gap: 1rem;
  margin: 1.25rem 0;
  padding: 0;
  list-style: none;
}
.card {
  display: flex;
  flex-direction: column;
  margin: 0;
}
.card p {
  margin-bottom: 0.5rem;
}
.card .actions {
  margin: auto 0 0;
  padding-top: 0.25rem;
}
.columns {
  display: grid;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr));
  gap: 0 1rem;
}
.wrap {
  overflow-wrap: anywhere;
}
.hint {
  color: var(--soft-ink);
  font-size: 0.9rem;
}
fieldset {
  margin: 0 0 1rem;
  padding: 0;
  border: 0;
}
legend,
.field label {
  display: block;
  margin-bottom: 0.25rem;
  padding: 0;
  font-weight: 600;
}
.choice {
  display: flex;
  gap: 0.6rem;
  align-items: center;
  padding-block: 0.35rem;
}
.choice input {
  flex: none;
  width: 1.2rem;
  height: 1.2rem;
  margin: 0;
  accent-color: var(--accent);
}
select,
input[type='number'] {
  width: 100%;
  min-height: 2.75rem;
  padding: 0.4rem 0.6rem;
  background: var(--panel);
  border: 1px solid var(--edge);
  border-radius: 0.4rem;
  color: inherit;
  font: inherit;
}
button,
.button {
  display: inline-block;
  min-height: 2.75rem;
  padding: 0.55rem 1.1rem;
  background: var(--accent);
  border: 1px solid var(--accent);
  border-radius: 0.4rem;
  color: var(--on-accent);
  font: inherit;
  font-weight: 600;
  text-align: center;
  text-decoration: none;
  cursor: pointer;
}
.quiet {
  background: transparent;
  color: var(--accent);
}
.actions {
  margin: 1rem 0 0.4rem;
}
:focus-visible {
  outline: 3px solid var(--accent);
  outline-offset: 2px;
}
dl {
  margin: 0;
}
dl div {
  padding-block: 0.5rem;
  border-top: 1px solid var(--line);
}
dt {
  color: var(--soft-ink);
  font-size: 0.9rem;
}
dd {
  margin: 0;
}
.badge {
  display: inline-block;
  padding: 0 0.6rem;
  border: 1px solid currentcolor;
  border-radius: 1rem;
  color: var(--soft-ink);
  font-size: 0.875rem;
}
.badge.pending,
.badge.awaiting {
  color: var(--accent);
}
.badge.completed,
.badge.online,
.badge.delivered {
  color: var(--good);
}
.badge.offline,
.badge.refused,
.badge.dead-letter {
  color: var(--alert);
}
.badge.retrying {
  color: var(--accent);
}
h3 .badge {
  margin-left: 0.4rem;
  font-weight: 400;
}
.buttons {
  display: flex;
  flex-wrap: wrap;
  gap: 0.5rem;
  max-width: none;
}
.steps li {
  margin-bottom: 0.6rem;
}
.steps .hint {
  display: block;
}
.panel.steps {
  padding-left: 2.5rem;
}
.alert {
  padding: 0.6rem 0.9rem;
  border-left: 4px solid var(--alert);
  color: var(--alert);
}
pre {
  overflow: auto;
  max-height: 20rem;
  margin: 0 0 1rem;
  padding: 0.75rem;
  border: 1px solid var(--line);
  font-size: 0.875rem;
  white-space: pre-wrap;
  overflow-wrap: anywhere;
}
`;
