import { isContainer, isFieldName } from './json.js';

/**
 * Makes answers fit to be shown around. Identifiers become short ones of the same form, the same one each time. Texts are
 * kept only where they can't be about anybody; numbers, times and structure stay.
 */
export function createAnonymizer(): (answer: unknown) => unknown {
  const replaced = new Map<string, string>();
  const counts = new Map<string, number>();

  /** What stands for a text, always the same, made by its number among those of its kind. */
  function standIn(kind: string, text: string, make: (number: number) => string): string {
    const known = replaced.get(`${kind} ${text}`);
    if (known !== undefined) return known;
    const number = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, number);
    replaced.set(`${kind} ${text}`, make(number));
    return make(number);
  }

  const uuid = (text: string): string =>
    standIn('uuid', text.toLowerCase(), (number) => `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`);

  function identifier(text: string): string {
    if (UUID.test(text)) return uuid(text);
    if (/^\d+$/.test(text)) return standIn('number', text, (number) => String(1_000 + number));
    const prefix = prefixOf(text);
    return prefix + standIn('identifier', text, shortId);
  }

  /** An address of Ring's API keeps the words of its path, and the names of its parameters. Of any other nothing is kept. */
  function address(text: string): string {
    const url = URL.canParse(text, 'https://api.example.com') ? new URL(text, 'https://api.example.com') : undefined;
    if (url?.pathname.startsWith('/v1/') !== true) {
      return standIn('address', text, (number) => `https://www.example.com/${number}`);
    }
    const path = url.pathname.split('/').map((part) => {
      const word = safelyDecoded(part);
      return word === '' || PATH_WORDS.has(word) ? part : encodeURIComponent(identifier(word));
    });
    const query = [...url.searchParams].map(([name, value]) => {
      const isKept = name === 'event_types' && EVENT_TYPES.test(value);
      const key = PARAMETERS.has(name) ? name : '*';
      return `${key}=${isKept ? value : standIn('parameter', value, (number) => `value${number}`)}`;
    });
    const host = /^https?:/i.test(text) ? 'https://api.example.com' : '';
    return `${host}${path.join('/')}${query.length === 0 ? '' : `?${query.join('&')}`}`;
  }

  function text(value: string, key: string): string {
    if (value === '' || isHarmless(value, key)) return value;
    if (IDENTIFIER_KEY.test(key) || UUID.test(value) || value.startsWith('ava1.')) return identifier(value);
    if (/^(https?:|\/)/i.test(value)) return address(value);
    if (value.includes('@')) return standIn('e-mail', value, (number) => `person${number}@example.com`);
    if (/^\+?[\d ()./-]{6,}$/.test(value)) {
      return standIn('phone', value, (number) => `+1555010${String(number).padStart(4, '0')}`);
    }
    if (key.includes('name')) return standIn('name', value, (number) => `Name ${number}`);
    return standIn('text', value, (number) => `Text ${number}`);
  }

  function replace(value: unknown, key: string): unknown {
    if (typeof value === 'string') return text(value, key);
    if (typeof value === 'number') return number(value, key);
    if (Array.isArray(value)) return value.map((entry) => replace(entry, key));
    if (!isContainer(value)) return value;
    return Object.fromEntries(
      Object.entries(value).map(([name, member]) => [
        isFieldName(name) ? name : standIn('key', name, (count) => `key${count}`),
        replace(member, name),
      ]),
    );
  }

  function number(value: number, key: string): number {
    if (IDENTIFIER_KEY.test(key)) return Number(standIn('number', String(value), (count) => String(1_000 + count)));
    return PERSONAL_NUMBER_KEY.test(key) ? 0 : value;
  }

  return (answer) => replace(answer, '');
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const IDENTIFIER_KEY = /^(id|riid)$|_ids?$|(?<=[a-z])Ids?$/;
const PERSONAL_NUMBER_KEY = /phone|lat|lon|lng|zip|postal|postcode|birth|serial/i;
const EVENT_TYPES = /^[a-z_.,]{1,100}$/;
const PARAMETERS = new Set(['include', 'event_types', 'page[key]', 'page[cursor]', 'page[size]']);

/** The words in Ring's own paths. */
const PATH_WORDS = new Set(
  'v1 devices status capabilities configurations location history events accounts me users subscriptions media image video download'.split(
    ' ',
  ),
);

/** The words in Ring's identifiers: `ava1.ring.device.status.…`. */
const PREFIX_WORDS = new Set(
  'ava1 ring account device status capabilities configurations location history event subscription user'.split(' '),
);

/** The words with which an identifier begins, up to the part that tells whose it is. */
function prefixOf(id: string): string {
  const parts = id.split('.');
  const foreign = parts.findIndex((part, index) => index === parts.length - 1 || !PREFIX_WORDS.has(part));
  return parts
    .slice(0, foreign)
    .map((part) => `${part}.`)
    .join('');
}

/** AAAA0001, BBBB0002 and so on. */
const shortId = (number: number): string =>
  String.fromCharCode(65 + ((number - 1) % 26)).repeat(4) + String(number).padStart(4, '0');

/** The fields whose texts are words of Ring's, and what such a word looks like. */
const WORDS =
  /^(type|event_type|sub_type|subType|status|code|codecs|configurations|ratio|max_resolution|supported_resolutions|enabled|country|pointer|color_night_vision|hdr|ir_led_night_vision|auto_zoom_track)$/;
const WORD = /^[A-Za-z0-9_.:/-]{1,40}$/;
const TIME = /^\d{4}-\d\d-\d\dT[\d:.]{5,18}(Z|[+-]\d\d:?\d\d)$/;
/** The headings of errors. What they say in detail may quote anything. */
const TITLE = /^[A-Z][A-Za-z]*( [A-Z][a-z]+){0,3}$/;

function isHarmless(value: string, key: string): boolean {
  if (TIME.test(value)) return true;
  if (value.startsWith('ava1.') || UUID.test(value)) return false;
  return (WORDS.test(key) && WORD.test(value)) || (key === 'title' && TITLE.test(value));
}

function safelyDecoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
