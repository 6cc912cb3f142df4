import type { Fault, RingEndpointName } from '../state/faults.js';
import { RING_ENDPOINTS } from '../state/faults.js';
import type { Settings } from '../state/state.js';
import type { Markup } from './markup.js';
import { markup, NOTHING } from './markup.js';
import { alert, numberField, option, page, radio, select } from './page-parts.js';

export function misbehaviourPage(faults: readonly Fault[], settings: Settings, problem?: string): string {
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
      ${settingsForms(settings)}`,
  );
}

const ENDPOINT_NAMES: Record<RingEndpointName, string> = {
  token: 'POST /oauth/token',
  'users-me': 'GET /v1/users/me',
  'integration-post': 'POST app-integrations',
  'integration-patch': 'PATCH app-integrations',
  devices: 'GET /v1/devices',
  device: 'GET /v1/devices/{id}',
  'device-resource': 'GET status, capabilities, location, configurations',
  history: 'GET history',
  'whep-post': 'POST live view',
  'whep-delete': 'DELETE live view',
  image: 'POST image download',
  media: 'GET image from the media host',
  clip: 'POST clip download',
  'clip-media': 'GET clip from the media host',
  subscriptions: 'GET subscriptions',
};

function faultList(faults: readonly Fault[]): Markup {
  return markup`
    <ul>${faults.map((fault) => markup`<li>${faultText(fault)}</li>`)}</ul>
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
          ${option('hold', 'Late until the faults are cleared')}
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

function settingsForms(settings: Settings): Markup {
  const { automaticWebhooks, webhookSpeed } = settings;
  return markup`
    <form class="panel" method="post" action="/misbehaviour/settings">
      <h2>Webhooks</h2>
      ${numberField('speed', 'webhookSpeed', 'Retries are this many times faster than Ring’s', 1, 1_000_000, webhookSpeed)}
      <fieldset>
        <legend>When the app is installed, completed or removed</legend>
        ${radio('automaticWebhooks', 'on', 'Ring sends webhooks by itself', automaticWebhooks)}
        ${radio('automaticWebhooks', 'off', 'Ring sends none', !automaticWebhooks)}
      </fieldset>
      <p class="actions"><button>Save webhooks</button></p>
    </form>
    <form class="panel" method="post" action="/misbehaviour/settings">
      <h2>Where Ring may answer in several ways</h2>
      ${CHOICES.map(({ name, label, options }) => select(name, name, label, options, String(settings[name])))}
      <p class="actions"><button>Save</button></p>
    </form>`;
}

/** The settings with a few values each, with the words of the page. */
const CHOICES: readonly {
  name: keyof Settings;
  label: string;
  options: readonly (readonly [value: string, label: string])[];
}[] = [
  {
    name: 'integrationBody',
    label: 'Success of app-integrations',
    options: [
      ['flat', 'Flat body'],
      ['json-api', 'JSON:API body'],
      ['none', '204 without a body'],
    ],
  },
  {
    name: 'refreshAnswer',
    label: 'Answer to a refresh',
    options: [
      ['new-pair', 'A new pair'],
      ['without-refresh-token', 'Without a refresh token'],
    ],
  },
  {
    name: 'whepLocation',
    label: 'Location of a live view',
    options: [
      ['absolute', 'Absolute'],
      ['relative', 'Relative'],
      ['missing', 'Missing'],
      ['other-origin', 'On another host'],
      ['unreadable', 'No URL'],
      ['trailing-slash', 'With a slash at the end'],
    ],
  },
  {
    name: 'defaultImageFormat',
    label: 'Format of a picture',
    options: [
      ['png', 'PNG'],
      ['jpeg', 'JPEG'],
    ],
  },
  {
    name: 'historyNext',
    label: 'Next page of history',
    options: [
      ['whole', 'Keeps the filter'],
      ['without-filter', 'Drops the filter'],
    ],
  },
];

function faultText(fault: Fault): string {
  const times = fault.times === undefined ? 'always' : `${fault.times} more`;
  const when = fault.endpoint === 'callback' ? '' : `, ${fault.when} the effect`;
  return `${fault.endpoint}: ${kindText(fault.fault)}${when}, ${times}`;
}

function kindText(fault: Fault['fault']): string {
  switch (fault.kind) {
    case 'delay':
      return `late by ${fault.ms} ms`;
    case 'hold':
      return 'late until the faults are cleared';
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
