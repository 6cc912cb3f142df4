/** A text that is HTML already. Any other text is escaped. */
export class Markup {
  readonly html: string;

  constructor(html: string) {
    this.html = html;
  }
}

export type Content = string | number | Markup | readonly Content[];

export const NOTHING: Content = [];

/** HTML with contents in it. Each is escaped unless it is markup itself. */
export function markup(parts: TemplateStringsArray, ...contents: Content[]): Markup {
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
