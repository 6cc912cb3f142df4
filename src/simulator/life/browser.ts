const MOST_REDIRECTS = 10;
const REQUEST_TIMEOUT_MS = 60_000;

/** A page where a browser arrived. */
export interface VisitedPage {
  status: number;
  html: string;
}

/** The two addresses of the app: the one that it gives to browsers, and the one that this machine reaches. */
interface Site {
  publicUrl: string;
  internalUrl: string;
}

/** A browser as far as the app needs one: it keeps cookies, follows redirects and fills in forms. */
export class Browser {
  readonly #site: Site;
  readonly #signal: AbortSignal;
  readonly #cookies = new Map<string, string>();
  #address: string;
  #page: VisitedPage = { status: 0, html: '' };

  constructor(site: Site, signal: AbortSignal) {
    this.#site = site;
    this.#signal = signal;
    this.#address = site.publicUrl;
  }

  async open(address: string): Promise<VisitedPage> {
    return this.#follow('GET', address);
  }

  /**
   * Sends the form of the current page that leads to `action`, with its hidden fields and the given ones.
   *
   * @throws {Error} when the page has no such form
   */
  async submit(action: string, fields: Record<string, string>): Promise<VisitedPage> {
    const hidden = hiddenFields(this.#page.html, action);
    if (hidden === undefined) throw new Error(`the page has no form that leads to ${action}`);
    return this.#follow('POST', action, new URLSearchParams({ ...hidden, ...fields }));
  }

  async #follow(method: string, address: string, form?: URLSearchParams): Promise<VisitedPage> {
    let response = await this.#request(method, address, form);
    for (let redirects = 0; redirects < MOST_REDIRECTS; redirects += 1) {
      const location = response.headers.get('location');
      if (location === null || response.status < 300 || response.status >= 400) break;
      await response.body?.cancel();
      response = await this.#request('GET', location);
    }
    this.#page = { status: response.status, html: await response.text() };
    return this.#page;
  }

  async #request(method: string, address: string, form?: URLSearchParams): Promise<Response> {
    this.#address = new URL(address, this.#address).href;
    const cookie = [...this.#cookies].map((pair) => pair.join('=')).join('; ');
    const response = await fetch(this.#reachable(this.#address), {
      method,
      redirect: 'manual',
      signal: AbortSignal.any([this.#signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]),
      ...(cookie !== '' && { headers: { cookie } }),
      ...(form !== undefined && { body: form }),
    });
    for (const line of response.headers.getSetCookie()) this.#keep(line);
    return response;
  }

  /** The address that can be reached from here. Inside a container, the app's public address leads nowhere. */
  #reachable(address: string): string {
    const { publicUrl, internalUrl } = this.#site;
    return address.startsWith(`${publicUrl}/`) ? internalUrl + address.slice(publicUrl.length) : address;
  }

  #keep(setCookie: string): void {
    const [pair = ''] = setCookie.split(';');
    const at = pair.indexOf('=');
    this.#cookies.set(pair.slice(0, at).trim(), pair.slice(at + 1).trim());
  }
}

/** The first heading of the page. */
export function headingOf({ html }: VisitedPage): string {
  const [, heading = ''] = /<h1[^>]*>([\s\S]*?)<\/h1>/.exec(html) ?? [];
  return unescapeHtml(heading.replaceAll(/<[^>]*>/g, '').trim());
}

function hiddenFields(html: string, action: string): Record<string, string> | undefined {
  const forms = html.match(/<form\b[\s\S]*?<\/form>/g) ?? [];
  const form = forms.find((text) => text.includes(`action="${action}"`));
  if (form === undefined) return undefined;
  const inputs = (form.match(/<input\b[^>]*>/g) ?? []).map(attributesOf);
  const hidden = inputs.filter(({ type }) => type === 'hidden');
  return Object.fromEntries(hidden.map(({ name = '', value = '' }) => [name, value]));
}

function attributesOf(tag: string): Record<string, string | undefined> {
  const attributes = [...tag.matchAll(/([\w-]+)="([^"]*)"/g)];
  return Object.fromEntries(attributes.map(([, name = '', value = '']) => [name, unescapeHtml(value)]));
}

function unescapeHtml(text: string): string {
  return text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll(/&#0*(?:39|x27);/g, "'")
    .replaceAll(/&#0*34;/g, '"')
    .replaceAll('&amp;', '&');
}
