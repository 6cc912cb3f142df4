import type { Integration, RingUser } from '../state/accounts.js';
import { displayName, sharedDevices } from '../state/accounts.js';
import type { Delivery } from '../state/deliveries.js';
import type { Device, Sensor } from '../state/devices.js';
import { hasVideo, sensorsOf } from '../state/devices.js';
import type { PartnerApp } from '../state/state.js';
import { eventButton, EVENT_FORM_CHOICES, type EventFormChoices } from './event-form.js';
import type { Markup } from './markup.js';
import { markup, NOTHING } from './markup.js';
import { badge, deliveryBadge, page, pathOf, removeForm, select, signInForm, userHeading } from './page-parts.js';

/** The parts of the page that only a user with the app has. */
export interface IntegrationView {
  app: PartnerApp;
  /** The choices made for the last event. */
  choices: EventFormChoices;
  newestDelivery: Delivery | undefined;
}

export function integrationPage(user: RingUser, integration: Integration, view: IntegrationView): string {
  return page(
    displayName(user),
    markup`
      ${userHeading(user)}
      <section class="panel">
        <h2>The app in this account</h2>
        <dl>
          <div><dt>Status</dt><dd>${badge(integration)} ${STATUS_MEANS[integration.status]}</dd></div>
          <div><dt>Linked to</dt><dd class="wrap">${integration.account_identifier ?? 'Nobody yet'}</dd></div>
        </dl>
        ${signInForm(user, 'Sign In again')}
        <p class="hint">Sends the browser to the app with a fresh nonce. There is no new code.</p>
        <p class="actions"><a class="button quiet" href="${view.app.publicUrl}/ring/home">Open app</a></p>
        ${removeForm(user)}
        <p class="hint">Removing ends the tokens. Adding the app again makes new ones.</p>
      </section>
      ${eventForm(user, view)}`,
  );
}

const STATUS_MEANS: Record<Integration['status'], string> = {
  pending: 'Added here, not yet signed in at the app.',
  awaiting: 'Signed in at the app; the app has not said that it is done.',
  completed: 'Linked.',
};

/** One form for all buttons, so that the choice of how to deliver is made once. */
function eventForm(user: RingUser, { choices, newestDelivery }: IntegrationView): Markup {
  const shared = new Set(sharedDevices(user));
  return markup`
    <form class="panel" method="post" action="${pathOf(user)}/events">
      <h2>Let something happen</h2>
      <p>It happens at Ring, and the app is sent a webhook.</p>
      ${newestDelivery === undefined ? NOTHING : lastWebhook(newestDelivery)}
      <div class="columns">
        ${select('how', 'how', 'How it is delivered', EVENT_FORM_CHOICES.how, choices.how)}
        ${select('motion', 'motion', 'Class of a motion', EVENT_FORM_CHOICES.motion, choices.motion)}
      </div>
      ${user.devices.map((device) => deviceSection(device, shared.has(device)))}
      <section>
        <h3>Subscription</h3>
        <p class="buttons">
          ${eventButton('subscription_activated', 'paid', 'Activate paid')}
          ${eventButton('subscription_activated', 'trial', 'Activate trial')}
          ${eventButton('subscription_deactivated', '', 'Deactivate')}
        </p>
      </section>
      <section>
        <h3>App integration</h3>
        <p class="buttons">
          ${eventButton('app_integration_added', '', 'Integration added')}
          ${eventButton('app_integration_removed', '', 'Integration removed')}
        </p>
      </section>
    </form>`;
}

function deviceSection(device: Device, isShared: boolean): Markup {
  const { id, name, online } = device;
  if (!isShared) {
    return markup`
      <section>
        <h3>${name} <span class="badge">not shown to the app</span></h3>
        <p class="buttons">${eventButton('device_added', id, 'Add', `Add ${name}`)}</p>
      </section>`;
  }
  return markup`
    <section>
      <h3>${name} <span class="badge ${online ? 'online' : 'offline'}">${online ? 'online' : 'offline'}</span></h3>
      <p class="buttons">
        ${hasVideo(device) || sensorsOf(device).length === 0 ? cameraButtons(device) : NOTHING}
        ${sensorsOf(device).map((sensor) => sensorButton(device, sensor))}
        ${
          online
            ? eventButton('device_offline', id, 'Go offline', `Go offline: ${name}`)
            : eventButton('device_online', id, 'Go online', `Go online: ${name}`)
        }
        ${eventButton('device_removed', id, 'Remove', `Remove ${name}`)}
      </p>
    </section>`;
}

function cameraButtons({ id, name }: Device): Markup {
  return markup`
    ${eventButton('motion_detected', id, 'Motion', `Motion at ${name}`)}
    ${eventButton('button_press', id, 'Button press', `Button press at ${name}`)}`;
}

/** The event that changes what the sensor notices now. */
function sensorButton({ id, name, faulted }: Device, sensor: Sensor): Markup {
  const { detect, clear } = SENSOR_BUTTONS[sensor];
  const { type, label } = faulted.includes(sensor) ? clear : detect;
  return eventButton(type, id, label, `${label}: ${name}`);
}

const SENSOR_BUTTONS: Record<Sensor, Record<'detect' | 'clear', { type: string; label: string }>> = {
  contact_detection: {
    detect: { type: 'contact_sensor_faulted', label: 'Open' },
    clear: { type: 'contact_sensor_cleared', label: 'Close' },
  },
  flood_detection: {
    detect: { type: 'flood_detected', label: 'Flood' },
    clear: { type: 'flood_cleared', label: 'Flood is over' },
  },
  freeze_detection: {
    detect: { type: 'freeze_detected', label: 'Freeze' },
    clear: { type: 'freeze_cleared', label: 'Freeze is over' },
  },
  tamper_detection: {
    detect: { type: 'tamper_detected', label: 'Tamper' },
    clear: { type: 'tamper_cleared', label: 'Tampering is over' },
  },
};

function lastWebhook(delivery: Delivery): Markup {
  return markup`
    <p>Last webhook: ${delivery.type} ${deliveryBadge(delivery)} <a href="/deliveries">All deliveries</a></p>`;
}
