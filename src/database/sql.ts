import type { Knex } from 'knex';
import type { QueryConfig } from 'pg';

/** A value in a statement. An array is one value, of an array type. Pass json as text. */
export type SqlValue =
  string | number | bigint | boolean | Date | Buffer | null | readonly (string | number | boolean | Date | null)[];

/**
 * A statement, or a part of one, with its values. Only its type is exported and its fields are private, so that only the
 * tag {@link sql} makes one, and its text never comes from input.
 */
class Sql {
  /** The text around the values, as in a tagged template: one more than there are values. */
  readonly #texts: readonly string[];
  readonly #values: readonly SqlValue[];

  constructor(strings: readonly string[], parts: readonly (Sql | SqlValue)[]) {
    const [first = '', ...rest] = strings;
    const texts = [first];
    const values: SqlValue[] = [];
    for (const [index, part] of parts.entries()) {
      const after = rest[index] ?? '';
      if (part instanceof Sql) {
        const [start = '', ...more] = part.#texts;
        texts.push(`${texts.pop() ?? ''}${start}`, ...more);
        texts.push(`${texts.pop() ?? ''}${after}`);
        values.push(...part.#values);
      } else {
        texts.push(after);
        values.push(part);
      }
    }
    this.#texts = texts;
    this.#values = values;
  }

  /** For `pg`, which numbers its parameters. */
  get numbered(): QueryConfig & { values: SqlValue[] } {
    return { text: this.#texts.reduce((text, next, index) => `${text}$${index}${next}`), values: [...this.#values] };
  }

  /** For `knex.raw`. Question marks in the text are escaped, because Knex takes them for values. */
  get forKnex(): [text: string, values: Knex.RawBinding[]] {
    const text = this.#texts.map((part) => part.replaceAll('?', '\\?')).join('?');
    return [text, [...this.#values] as Knex.RawBinding[]];
  }
}

export type { Sql };

/**
 * SQL as it reads, each value where it is used: `sql`SELECT * FROM users WHERE email = ${email}``. A value is sent beside
 * the text and never spliced into it; another `Sql` becomes part of the text, with its values.
 */
export function sql(strings: TemplateStringsArray, ...parts: readonly (Sql | SqlValue)[]): Sql {
  return new Sql(strings, parts);
}

/** Runs one statement and returns its rows. `Row` is what the caller's SQL selects: the two stand side by side. */
export async function rows<Row>(on: Knex, statement: Sql): Promise<Row[]> {
  const result = await on.raw<{ rows: Row[] }>(...statement.forKnex);
  return result.rows;
}

/** As {@link rows}, for a statement that touches one row or none. */
export async function row<Row>(on: Knex, statement: Sql): Promise<Row | undefined> {
  const [first] = await rows<Row>(on, statement);
  return first;
}

/** Runs one statement. @returns how many rows it touched */
export async function run(on: Knex, statement: Sql): Promise<number> {
  const result = await on.raw<{ rowCount: number | null }>(...statement.forKnex);
  return result.rowCount ?? 0;
}
