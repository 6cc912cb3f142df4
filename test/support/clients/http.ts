export interface Sent {
  method?: string;
  /** `name=value`, as a browser would send it back. */
  cookie?: string | undefined;
  form?: Record<string, string> | [name: string, value: string][];
  body?: string;
  headers?: Record<string, string>;
  /** Aborted when the client hangs up. */
  signal?: AbortSignal;
}

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  /** Headers and body: everything that the app sent. */
  everything: string;
  location: string | null;
  /** `name=value` of the session's cookie, if it was set. */
  cookie: string | undefined;
  heading: string;
}

/** Sends one request and returns the answer as it is: no redirect is followed and no cookie kept. */
export async function send(origin: string, path: string, { method, cookie, form, body, headers, signal }: Sent = {}) {
  const content = form === undefined ? body : new URLSearchParams(form);
  const response = await fetch(origin + path, {
    method: method ?? (content === undefined ? 'GET' : 'POST'),
    redirect: 'manual',
    headers: { ...headers, ...(cookie !== undefined && { cookie }) },
    ...(content !== undefined && { body: content }),
    ...(signal && { signal }),
  });
  const text = await response.text();
  const setCookie = response.headers.getSetCookie().find((cookie) => /^(__Host-)?session=/.test(cookie));
  const answer: Answer = {
    status: response.status,
    headers: response.headers,
    text,
    everything: [...[...response.headers].map((header) => header.join(': ')), text].join('\n'),
    location: response.headers.get('location'),
    cookie: setCookie?.split(';', 1)[0],
    heading: headingOf(text),
  };
  return answer;
}

function headingOf(html: string): string {
  const [, heading = ''] = /<h1[^>]*>([\s\S]*?)<\/h1>/.exec(html) ?? [];
  return heading.replaceAll('&#39;', "'").trim();
}
