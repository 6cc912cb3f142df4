import type { Integration, RingUser } from '../state/accounts.js';
import { displayName } from '../state/accounts.js';
import type { Delivery } from '../state/deliveries.js';
import type { Markup } from './markup.js';
import { markup, NOTHING } from './markup.js';

/** The frame of every page. */

export function page(title: string, main: Markup): string {
  return markup`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${title} · Ring simulator</title>
    <link rel="stylesheet" href="/style.css">
  </head>
  <body>
    <header>
      <div class="inner">
        <p class="name"><a href="/">Ring simulator</a></p>
        <nav aria-label="Simulator">
          <a href="/">Ring users</a> <a href="/deliveries">Deliveries</a> <a href="/misbehaviour">Misbehaviour</a>
        </nav>
      </div>
      <p class="notice">This is not Ring. It plays Ring for development and tests.</p>
    </header>
    <main>${main}</main>
  </body>
</html>
`.html;
}

export function userHeading(user: RingUser): Markup {
  return markup`
    <p><a href="/">Other Ring users</a></p>
    <h1>${displayName(user)}</h1>
    <p class="hint wrap">${user.attributes.email ?? 'No e-mail address'} · ${user.account_id}</p>`;
}

export function signInForm(user: RingUser, label: string): Markup {
  return markup`
    <form method="post" action="${pathOf(user)}/sign-in"><p class="actions"><button>${label}</button></p></form>`;
}

export function removeForm(user: RingUser): Markup {
  return markup`
    <form method="post" action="${pathOf(user)}/remove">
      <p class="actions"><button class="quiet">Remove</button></p>
    </form>`;
}

/** @param userId the user of the life; a new user unless given */
export function lifeForm(userId?: string): Markup {
  return markup`
    <form method="post" action="/lives">
      ${userId === undefined ? NOTHING : markup`<input type="hidden" name="user_id" value="${userId}">`}
      <p class="actions"><button class="quiet">Live a whole life</button></p>
    </form>
    <p class="hint">Installs the app, signs up there as a browser would, lets things happen, and removes it.</p>`;
}

export function badge(integration: Integration | null): Markup {
  if (integration === null) return markup`<span class="badge">not installed</span>`;
  return markup`<span class="badge ${integration.status}">${integration.status}</span>`;
}

export function deliveryBadge({ state }: Delivery): Markup {
  return markup`<span class="badge ${state}">${state.replace('-', ' ')}</span>`;
}

export function alert(message: string): Markup {
  return markup`<p class="alert" role="alert">${message}</p>`;
}

export function option(value: string, label: string, isSelected = false): Markup {
  return markup`<option value="${value}"${isSelected ? markup` selected` : NOTHING}>${label}</option>`;
}

export function select(
  id: string,
  name: string,
  label: string,
  options: readonly (readonly [value: string, label: string])[],
  selected?: string,
): Markup {
  return markup`
    <p class="field">
      <label for="${id}">${label}</label>
      <select id="${id}" name="${name}">
        ${options.map(([value, text]) => option(value, text, value === selected))}
      </select>
    </p>`;
}

export function numberField(
  id: string,
  name: string,
  label: string,
  min: number,
  max: number,
  value: string | number,
): Markup {
  return markup`
    <p class="field">
      <label for="${id}">${label}</label>
      <input id="${id}" name="${name}" type="number" min="${min}" max="${max}" value="${value}">
    </p>`;
}

export function radio(name: string, value: string, label: string, isChecked: boolean): Markup {
  return markup`
    <label class="choice">
      <input type="radio" name="${name}" value="${value}"${isChecked ? markup` checked` : NOTHING}> ${label}
    </label>`;
}

export function pathOf(user: RingUser): string {
  return `/users/${encodeURIComponent(user.id)}`;
}
