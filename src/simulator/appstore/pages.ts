import type { CallbackAnswer, SendAs } from '../outbound/installation.js';
import type { RingUser } from '../state/accounts.js';
import { displayName } from '../state/accounts.js';
import type { Device } from '../state/devices.js';
import type { PartnerApp } from '../state/state.js';
import type { Markup } from './markup.js';
import { markup, NOTHING } from './markup.js';
import { alert, badge, lifeForm, page, pathOf, removeForm, select, signInForm, userHeading } from './page-parts.js';

/** The most users that are listed. A load test makes thousands. */
const USERS_LISTED = 50;

export function usersPage(users: RingUser[]): string {
  const listed = users.slice(0, USERS_LISTED);
  const unlisted = users.length - listed.length;
  return page(
    'Ring users',
    markup`
      <h1>Choose a Ring user</h1>
      <p>These people are invented. Be one of them, add the app to their Ring account, and follow the redirect to it.</p>
      <ul class="cards">${listed.map(userCard)}</ul>
      ${lifeForm()}
      ${unlisted > 0 ? markup`<p>And ${unlisted} more, made by a script.</p>` : NOTHING}`,
  );
}

export function installPage(user: RingUser, app: PartnerApp, problem?: string): string {
  return page(
    displayName(user),
    markup`
      ${userHeading(user)}
      ${problem === undefined ? NOTHING : alert(problem)}
      <form class="panel" method="post" action="${pathOf(user)}/install">
        <h2>Add the app</h2>
        <p>The app runs at <span class="wrap">${app.publicUrl}</span>. It will see the devices that you choose.</p>
        <fieldset>
          <legend>Devices</legend>
          ${user.devices.map(deviceChoice)}
        </fieldset>
        ${select('send_as', 'send_as', 'How the code is sent to the app', SEND_AS_OPTIONS)}
        <p class="actions"><button>Install</button></p>
      </form>
      ${lifeForm(user.id)}`,
  );
}

export function refusedCodePage(user: RingUser, answer: CallbackAnswer): string {
  const outcome = answer.status === null ? 'It gave no answer.' : `It answered with status ${answer.status}.`;
  return page(
    'The app did not take the code',
    markup`
      ${userHeading(user)}
      <section class="panel">
        <h2>The app did not take the code</h2>
        ${alert(`The code was sent to the app's callback. ${outcome}`)}
        ${answer.body === '' ? NOTHING : markup`<h3>What came back</h3><pre tabindex="0">${answer.body}</pre>`}
        <p>The app is in the Ring account all the same, with status pending. Remove it and add it again for a new code,
          or go on to the app's sign-in without one.</p>
        ${signInForm(user, 'Sign In anyway')}
        ${removeForm(user)}
      </section>`,
  );
}

export function messagePage(title: string, message: string): string {
  return page(
    title,
    markup`<h1>${title}</h1><p>${message}</p><p class="actions"><a class="button" href="/">Choose a Ring user</a></p>`,
  );
}

const SEND_AS_OPTIONS: readonly (readonly [SendAs, string])[] = [
  ['form', 'Form body'],
  ['json', 'JSON body'],
  ['query', 'Query string'],
];

function userCard(user: RingUser): Markup {
  return markup`
    <li class="panel card">
      <h2>${displayName(user)}</h2>
      <p class="wrap">${user.attributes.email ?? 'No e-mail address'}</p>
      <p>${listNames(user.devices)}</p>
      <p>${badge(user.integration)}</p>
      <p class="actions"><a class="button" href="${pathOf(user)}">Continue as ${displayName(user)}</a></p>
    </li>`;
}

function deviceChoice(device: Device): Markup {
  return markup`
    <label class="choice"><input type="checkbox" name="device_id" value="${device.id}" checked> ${device.name}</label>`;
}

function listNames(devices: Device[]): string {
  return devices.length === 0 ? 'No devices' : devices.map((device) => device.name).join(', ');
}
