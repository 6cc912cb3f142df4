import { describe, expect, test } from '@jest/globals';
import { columnsOf, sql } from '../../src/database/sql.js';

describe('an sql statement', () => {
  test('keeps its values apart from its text, whatever stands in them', () => {
    const { text, values } = sql`SELECT ${`'; DROP TABLE users; --`}, ${1}`.numbered;
    expect(text).toBe('SELECT $1, $2');
    expect(values).toEqual([`'; DROP TABLE users; --`, 1]);
  });

  test('takes other statements into its text, with their values in order', () => {
    const inner = sql`account_id = ${'a'} AND id = ${'d'}`;
    const { text, values } = sql`SELECT ${0} WHERE ${inner} AND (${inner}) LIMIT ${5}`.numbered;
    expect(text).toBe('SELECT $1 WHERE account_id = $2 AND id = $3 AND (account_id = $4 AND id = $5) LIMIT $6');
    expect(values).toEqual([0, 'a', 'd', 'a', 'd', 5]);
  });

  test('may be a part alone, or end with one', () => {
    const part = sql`status = 'COMPLETED'`;
    expect(sql`${part}`.numbered).toEqual({ text: `status = 'COMPLETED'`, values: [] });
    expect(sql`SELECT 1 WHERE ${part}`.numbered.text).toBe(`SELECT 1 WHERE status = 'COMPLETED'`);
  });

  test('takes a list as one value', () => {
    expect(sql`SELECT ANY (${['a', 'b']}::text[])`.numbered.values).toEqual([['a', 'b']]);
  });

  test('takes a row by the names of its columns, with values and SQL in the same order', () => {
    const { names, values } = columnsOf<'device_events'>({
      request_id: 'r',
      occurred_at: sql`now() - ${5} * interval '1 s'`,
      subtype: null,
    });
    expect(sql`INSERT INTO device_events (${names}) SELECT ${values} WHERE ${true}`.numbered).toEqual({
      text: `INSERT INTO device_events (request_id, occurred_at, subtype) SELECT $1, now() - $2 * interval '1 s', $3 WHERE $4`,
      values: ['r', 5, null, true],
    });
  });
});
