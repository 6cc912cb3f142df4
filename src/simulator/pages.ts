import type { Integration, RingUser } from './accounts.js';
import { displayName } from './accounts.js';
import type { Device } from './devices.js';
import type { Fault, RingEndpointName } from './faults.js';
import { RING_ENDPOINTS } from './faults.js';
import type { CallbackAnswer, SendAs } from './linking.js';
import type { IntegrationBody, PartnerApp } from './state.js';

/** More users than this are not listed: a load test makes thousands. */
const USERS_LISTED = 50;

/** Text that is already HTML. Everything else is escaped. */
class Markup {
  readonly html: string;

  constructor(html: string) {
    this.html = html;
  }
}

type Content = string | number | Markup | readonly Content[];

const NOTHING: Content = [];

export function usersPage(users: RingUser[]): string {
  const listed = users.slice(0, USERS_LISTED);
  const unlisted = users.length - listed.length;
  return page(
    'Ring users',
    markup`
      <h1>Choose a Ring user</h1>
      <p>These people are invented. Be one of them, add the app to their Ring account, and follow the redirect to it.</p>
      <ul class="cards">${listed.map(userCard)}</ul>
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
        <p class="field">
          <label for="send_as">How the code is sent to the app</label>
          <select id="send_as" name="send_as">${SEND_AS_OPTIONS.map(([value, label]) => option(value, label))}</select>
        </p>
        <p class="actions"><button>Install</button></p>
      </form>`,
  );
}

export function integrationPage(user: RingUser, integration: Integration, app: PartnerApp): string {
  const devices = user.devices.filter((device) => integration.device_ids.includes(device.id));
  return page(
    displayName(user),
    markup`
      ${userHeading(user)}
      <section class="panel">
        <h2>The app in this account</h2>
        <dl>
          <div><dt>Status</dt><dd>${badge(integration)} ${STATUS_MEANS[integration.status]}</dd></div>
          <div><dt>Linked to</dt><dd class="wrap">${integration.account_identifier ?? 'Nobody yet'}</dd></div>
          <div><dt>Devices</dt><dd>${listNames(devices)}</dd></div>
        </dl>
        ${signInForm(user, 'Sign In again')}
        <p class="hint">Sends the browser to the app with a fresh nonce. There is no new code.</p>
        <p class="actions"><a class="button quiet" href="${app.publicUrl}/ring/home">Open app</a></p>
        ${removeForm(user)}
        <p class="hint">Removing ends the tokens. Adding the app again makes new ones.</p>
      </section>`,
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

export function misbehaviourPage(faults: readonly Fault[], integrationBody: IntegrationBody, problem?: string): string {
  return page(
    'Misbehaviour',
    markup`
      <h1>Make Ring misbehave</h1>
      <p>A request meets at most one fault: the first in the list that is for its endpoint.</p>
      ${problem === undefined ? NOTHING : alert(problem)}
      <section class="panel">
        <h2>Waiting faults</h2>
        ${faults.length === 0 ? markup`<p>None. Ring is well.</p>` : faultList(faults)}
      </section>
      ${ringFaultForm()}
      ${callbackFaultForm()}
      ${integrationBodyForm(integrationBody)}`,
  );
}

export function messagePage(title: string, message: string): string {
  return page(
    title,
    markup`<h1>${title}</h1><p>${message}</p><p class="actions"><a class="button" href="/">Choose a Ring user</a></p>`,
  );
}

const SEND_AS_OPTIONS: readonly (readonly [SendAs, string])[] = [
  ['json', 'JSON body'],
  ['form', 'Form body'],
  ['query', 'Query string'],
];

const STATUS_MEANS: Record<Integration['status'], string> = {
  pending: 'Added here, not yet signed in at the app.',
  awaiting: 'Signed in at the app; the app has not said that it is done.',
  completed: 'Linked.',
};

const ENDPOINT_NAMES: Record<RingEndpointName, string> = {
  token: 'POST /oauth/token',
  'users-me': 'GET /v1/users/me',
  'integration-post': 'POST app-integrations',
  'integration-patch': 'PATCH app-integrations',
  devices: 'GET /v1/devices',
  device: 'GET /v1/devices/{id}',
  'whep-post': 'POST live view',
  'whep-delete': 'DELETE live view',
  image: 'POST image download',
  media: 'GET image from the media host',
  subscriptions: 'GET subscriptions',
};

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

function userHeading(user: RingUser): Markup {
  return markup`
    <p><a href="/">Other Ring users</a></p>
    <h1>${displayName(user)}</h1>
    <p class="hint wrap">${user.attributes.email ?? 'No e-mail address'} · ${user.account_id}</p>`;
}

function deviceChoice(device: Device): Markup {
  return markup`
    <label class="choice"><input type="checkbox" name="device_id" value="${device.id}" checked> ${device.name}</label>`;
}

function signInForm(user: RingUser, label: string): Markup {
  return markup`
    <form method="post" action="${pathOf(user)}/sign-in"><p class="actions"><button>${label}</button></p></form>`;
}

function removeForm(user: RingUser): Markup {
  return markup`
    <form method="post" action="${pathOf(user)}/remove">
      <p class="actions"><button class="quiet">Remove</button></p>
    </form>`;
}

function faultList(faults: readonly Fault[]): Markup {
  return markup`
    <ul>${faults.map((fault) => markup`<li>${describeFault(fault)}</li>`)}</ul>
    <form method="post" action="/misbehaviour/clear"><p class="actions"><button class="quiet">Clear all</button></p></form>`;
}

function ringFaultForm(): Markup {
  return markup`
    <form class="panel" method="post" action="/misbehaviour/ring">
      <h2>Ring's answers</h2>
      <p class="field">
        <label for="endpoint">Endpoint</label>
        <select id="endpoint" name="endpoint">${RING_ENDPOINTS.map((name) => option(name, ENDPOINT_NAMES[name]))}</select>
      </p>
      <p class="field">
        <label for="kind">What goes wrong</label>
        <select id="kind" name="kind">
          ${option('delay', 'Late answer')}
          ${option('status', 'Another status')}
          ${option('reset', 'Connection reset')}
          ${option('silence', 'No answer')}
        </select>
      </p>
      <p class="field">
        <label for="when">When</label>
        <select id="when" name="when">
          ${option('before', 'Before the effect at Ring')}
          ${option('after', 'After the effect at Ring')}
        </select>
      </p>
      <div class="columns">
        ${numberField('ring-ms', 'ms', 'Late by (ms)', 0, 600_000, '5000')}
        ${numberField('status', 'status', 'Status', 200, 599, '503')}
        ${numberField('retry', 'retryAfterSeconds', 'Retry-After (s, optional)', 0, 86_400, '')}
        ${numberField('ring-times', 'times', 'Times (empty: always)', 1, 1_000, '1')}
      </div>
      <p class="actions"><button>Add fault</button></p>
    </form>`;
}

function callbackFaultForm(): Markup {
  return markup`
    <form class="panel" method="post" action="/misbehaviour/callback">
      <h2>Ring's callback to the app</h2>
      <p class="field">
        <label for="callback-kind">What goes wrong</label>
        <select id="callback-kind" name="kind">
          ${option('delay', 'Code after the browser')}
          ${option('twice', 'Same code twice at once')}
        </select>
      </p>
      <div class="columns">
        ${numberField('callback-ms', 'ms', 'Late by (ms)', 0, 600_000, '5000')}
        ${numberField('callback-times', 'times', 'Times (empty: always)', 1, 1_000, '1')}
      </div>
      <p class="actions"><button>Add callback fault</button></p>
    </form>`;
}

function integrationBodyForm(current: IntegrationBody): Markup {
  const choice = (value: IntegrationBody, label: string): Markup => markup`
    <label class="choice">
      <input type="radio" name="integrationBody" value="${value}"${value === current ? markup` checked` : NOTHING}> ${label}
    </label>`;
  return markup`
    <form class="panel" method="post" action="/misbehaviour/settings">
      <h2>Success of app-integrations</h2>
      <fieldset>
        <legend>Shape of the body</legend>
        ${choice('flat', 'Flat')}
        ${choice('json-api', 'JSON:API')}
      </fieldset>
      <p class="actions"><button>Save</button></p>
    </form>`;
}

function numberField(id: string, name: string, label: string, min: number, max: number, value: string): Markup {
  return markup`
    <p class="field">
      <label for="${id}">${label}</label>
      <input id="${id}" name="${name}" type="number" min="${min}" max="${max}" value="${value}">
    </p>`;
}

function describeFault(fault: Fault): string {
  const times = fault.times === undefined ? 'always' : `${fault.times} more`;
  const when = fault.endpoint === 'callback' ? '' : `, ${fault.when} the effect`;
  return `${fault.endpoint}: ${describeKind(fault.fault)}${when}, ${times}`;
}

function describeKind(fault: Fault['fault']): string {
  switch (fault.kind) {
    case 'delay':
      return `late by ${fault.ms} ms`;
    case 'status':
      return `status ${fault.status}`;
    case 'reset':
      return 'connection reset';
    case 'silence':
      return 'no answer';
    case 'body':
      return `status ${fault.status} with another body`;
    case 'large-body':
      return `status ${fault.status} with ${fault.sizeBytes} bytes`;
    case 'twice':
      return 'sent twice at once';
  }
}

function badge(integration: Integration | null): Markup {
  if (integration === null) return markup`<span class="badge">not installed</span>`;
  return markup`<span class="badge ${integration.status}">${integration.status}</span>`;
}

function alert(message: string): Markup {
  return markup`<p class="alert" role="alert">${message}</p>`;
}

function option(value: string, label: string): Markup {
  return markup`<option value="${value}">${label}</option>`;
}

function listNames(devices: Device[]): string {
  return devices.length === 0 ? 'No devices' : devices.map((device) => device.name).join(', ');
}

function pathOf(user: RingUser): string {
  return `/users/${encodeURIComponent(user.id)}`;
}

function page(title: string, main: Markup): string {
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
        <nav aria-label="Simulator"><a href="/">Ring users</a> <a href="/misbehaviour">Misbehaviour</a></nav>
      </div>
      <p class="notice">This is not Ring. It plays Ring for development and tests.</p>
    </header>
    <main>${main}</main>
  </body>
</html>
`.html;
}

function markup(parts: TemplateStringsArray, ...contents: Content[]): Markup {
  return new Markup(
    parts.reduce((html, part, index) => {
      const content = contents[index - 1];
      return html + (content === undefined ? '' : toHtml(content)) + part;
    }),
  );
}

function toHtml(content: Content): string {
  if (content instanceof Markup) return content.html;
  if (typeof content === 'string' || typeof content === 'number') return escapeHtml(String(content));
  return content.map(toHtml).join('');
}

function escapeHtml(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll("'", '&#39;');
}
