import supertest from 'supertest';

export interface Page {
  status: number;
  text: string;
  headers: Record<string, string>;
}

/** A visitor with a browser that keeps cookies, follows links to the app and fills in the forms of its pages. */
export class Visitor {
  readonly #agent: ReturnType<typeof supertest.agent>;
  page: Page = { status: 0, text: '', headers: {} };

  constructor(readonly appUrl: string) {
    this.#agent = supertest.agent(appUrl);
  }

  /** Opens an address of the app and follows its redirects. */
  async open(address: string): Promise<Page> {
    return this.#seen(await this.#agent.get(address.replace(this.appUrl, '')).redirects(5));
  }

  /** Opens an address and stays at the first answer. */
  async openWithoutRedirects(address: string): Promise<Page> {
    return this.#seen(await this.#agent.get(address.replace(this.appUrl, '')).redirects(0));
  }

  /** Sends the form of the current page that leads to `action`, with its hidden fields and the given ones. */
  async submit(action: string, fields: Record<string, string> = {}): Promise<Page> {
    return this.post(action, { ...hiddenFields(this.page.text, action), ...fields });
  }

  /** Sends a form without looking at any page. */
  async post(action: string, fields: Record<string, string>): Promise<Page> {
    return this.#seen(await this.#agent.post(action).type('form').send(fields).redirects(5));
  }

  /** The cookies as the browser would send them back, for requests that a script on a page would send. */
  get cookie(): string {
    return this.cookies.map(({ name, value }) => `${name}=${value}`).join('; ');
  }

  get cookies(): { name: string; value: string }[] {
    const here = { domain: new URL(this.appUrl).hostname, path: '/', secure: false, script: false };
    // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- its class is in a package of supertest's
    const cookies = this.#agent.jar.getCookies(here);
    return cookies.map(({ name, value }) => ({ name, value }));
  }

  /** The value of the session's cookie. */
  get sessionCookie(): string {
    const cookie = this.cookies.find(({ name }) => name === 'session');
    if (cookie === undefined) throw new Error('the browser has no session');
    return cookie.value;
  }

  /** The heading of the current page. */
  get heading(): string {
    const [, heading = ''] = /<h1[^>]*>([\s\S]*?)<\/h1>/.exec(this.page.text) ?? [];
    return heading.replaceAll('&#39;', "'").trim();
  }

  #seen(response: supertest.Response): Page {
    this.page = { status: response.status, text: response.text, headers: response.headers };
    return this.page;
  }
}

/** The hidden fields of the form with this action. */
export function hiddenFields(html: string, action: string): Record<string, string> {
  const form = [...html.matchAll(/<form\b[\s\S]*?<\/form>/g)].find(([text]) => text.includes(`action="${action}"`));
  if (form === undefined) throw new Error(`the page has no form that leads to ${action}:\n${html}`);
  const fields = [...form[0].matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g)];
  return Object.fromEntries(fields.map(([, name = '', value = '']) => [name, value]));
}
