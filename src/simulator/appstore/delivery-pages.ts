import type { Attempt, Delivery } from '../state/deliveries.js';
import type { Life, LifeStep } from '../state/lives.js';
import type { Markup } from './markup.js';
import { markup, NOTHING } from './markup.js';
import { deliveryBadge, page } from './page-parts.js';

const DELIVERIES_LISTED = 50;

/** @param deadLetters how many can be sent again */
export function deliveriesPage(deliveries: readonly Delivery[], deadLetters: number): string {
  const newest = deliveries.slice(-DELIVERIES_LISTED).reverse();
  return page(
    'Deliveries',
    markup`
      <h1>Deliveries</h1>
      <p>The newest ${DELIVERIES_LISTED} webhooks, newest first.</p>
      <section class="panel">
        <h2>Dead letters</h2>
        ${deadLetters === 0 ? markup`<p>None. Nothing was given up.</p>` : replayForm(deadLetters)}
      </section>
      ${newest.length === 0 ? markup`<p>No webhook was sent yet.</p>` : NOTHING}
      <ul class="cards">${newest.map(deliveryCard)}</ul>`,
  );
}

export function lifePage({ id, user_id, state, steps }: Life): string {
  const failures = steps.filter(({ ok }) => !ok).length;
  return page(
    'A whole life',
    markup`
      <p><a href="/">Ring users</a></p>
      <h1>A whole life</h1>
      ${
        state === 'running'
          ? markup`
              <p>It is being lived.</p>
              <p class="actions"><a class="button" href="/lives/${id}">Look again</a></p>`
          : markup`<p>It is over: ${failures === 0 ? 'the app has answered everything as it should.' : `${failures} went wrong.`}</p>`
      }
      <ol class="panel steps">${steps.map(stepItem)}</ol>
      <p><a href="/users/${encodeURIComponent(user_id)}">Whose life it is</a> · <a href="/deliveries">Deliveries</a></p>`,
  );
}

function replayForm(deadLetters: number): Markup {
  return markup`
    <p>${deadLetters} given up after all retries.</p>
    <form method="post" action="/deliveries/replay"><p class="actions"><button>Send again</button></p></form>`;
}

function deliveryCard(delivery: Delivery): Markup {
  return markup`
    <li class="panel card">
      <h2>${delivery.type}</h2>
      <p>${deliveryBadge(delivery)}</p>
      <p class="hint wrap">${delivery.account_id}<br>${delivery.request_id}</p>
      ${delivery.attempts.length === 0 ? NOTHING : markup`<ol>${delivery.attempts.map(attemptItem)}</ol>`}
    </li>`;
}

function attemptItem({ at, status, ms }: Attempt): Markup {
  return markup`<li>${new Date(at).toISOString().slice(11, 19)} UTC: ${status ?? 'no answer'}, ${ms} ms</li>`;
}

function stepItem({ step, ok, detail }: LifeStep): Markup {
  return markup`
    <li>
      <span class="badge ${ok ? 'delivered' : 'refused'}">${ok ? 'well' : 'wrong'}</span> ${step}
      <span class="hint wrap">${detail}</span>
    </li>`;
}
