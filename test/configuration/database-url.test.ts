import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { DatabaseUrlError, readDatabaseUrl } from '../../src/configuration/database-url.js';

const CERTIFICATE = '-----BEGIN CERTIFICATE-----\nof a test\n-----END CERTIFICATE-----\n';

let folder: string;
let ca: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'database-url-'));
  ca = join(folder, 'ca.pem');
  writeFileSync(ca, CERTIFICATE);
  writeFileSync(join(folder, 'no.pem'), 'nothing of the kind');
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function problemOf(url: string): string {
  try {
    readDatabaseUrl(url);
    return 'none';
  } catch (error) {
    if (error instanceof DatabaseUrlError) return error.message;
    throw error;
  }
}

describe('a URL says where the database is', () => {
  test.each([
    ['postgres://u:p@db.example.com:5433/linking', { host: 'db.example.com', port: 5433, database: 'linking' }],
    ['postgresql://u:p@db.example.com/linking', { host: 'db.example.com', database: 'linking' }],
    ['postgres://u:p@[2001:db8::1]:5433/linking', { host: '2001:db8::1', port: 5433, database: 'linking' }],
    [
      'postgres://u:p@/linking?host=/cloudsql/a-project:europe-west1:db',
      { host: '/cloudsql/a-project:europe-west1:db' },
    ],
    ['postgres://u:p@localhost/linking?host=/cloudsql/a:b:c', { host: '/cloudsql/a:b:c', database: 'linking' }],
    ['postgres://u:p@%2Fvar%2Frun%2Fpostgresql/linking', { host: '/var/run/postgresql', database: 'linking' }],
    ['postgres://u:p@/linking?host=/var/run/postgresql&port=5433', { host: '/var/run/postgresql', port: 5433 }],
    ['socket:/var/run/postgresql?db=linking&user=u&password=p', { host: '/var/run/postgresql', database: 'linking' }],
    ['postgres://db.example.com/linking?user=u&password=p%40w', { host: 'db.example.com', password: 'p@w' }],
    ['postgres://me%40server:p@db.example.com/linking', { user: 'me@server', host: 'db.example.com' }],
    ['postgres://u:p%40%2F%3F%23%25@db.example.com/linking', { password: 'p@/?#%', host: 'db.example.com' }],
    ['postgres://u:p@w@db.example.com/linking', { password: 'p@w', host: 'db.example.com' }],
    ['postgres://u:100%safe@db.example.com/linking', { password: '100%safe' }],
    ['postgres://db.example.com/linking?user=me@server', { user: 'me@server', host: 'db.example.com' }],
  ])('%s', (url, expected) => {
    expect(readDatabaseUrl(url)).toMatchObject(expected);
  });

  test('what other programs have put into it does no harm', () => {
    const url =
      'postgres://u:p@db.example.com/linking?schema=public&connection_limit=5&pgbouncer=true&max=1&statement_timeout=1&application_name=x';
    expect(readDatabaseUrl(url)).toEqual(readDatabaseUrl('postgres://u:p@db.example.com/linking'));
  });
});

describe('a URL says how the connection is encrypted', () => {
  const at = (query: string) => readDatabaseUrl(`postgres://u:p@db.example.com/linking${query}`).ssl;
  const verified = {};
  const any = { rejectUnauthorized: false };

  test.each<[string, unknown]>([
    ['', undefined],
    ['?sslmode=disable', false],
    ['?sslmode=prefer', verified],
    ['?sslmode=require', verified],
    ['?sslmode=verify-ca', verified],
    ['?sslmode=verify-full', verified],
    ['?sslmode=no-verify', any],
    ['?sslmode=require&channel_binding=require', verified],
    ['?uselibpqcompat=true&sslmode=require', any],
    ['?sslmode=require&uselibpqcompat=true', any],
    ['?uselibpqcompat=true&sslmode=prefer', any],
    ['?uselibpqcompat=true&sslmode=verify-full', verified],
    ['?uselibpqcompat=true&sslmode=disable', false],
    ['?uselibpqcompat=true&sslmode=no-verify', any],
    ['?sslrootcert=system', verified],
    ['?uselibpqcompat=true&sslmode=require&sslrootcert=system', verified],
    ['?ssl=true', true],
    ['?ssl=1', true],
    ['?ssl=false', false],
    ['?ssl=0', false],
    ['?ssl=no-verify', any],
  ])('“%s”', (query, expected) => {
    expect(at(query)).toEqual(expected);
  });

  test('with the authority that is to be trusted', () => {
    expect(at(`?sslmode=verify-full&sslrootcert=${ca}`)).toEqual({ ca: CERTIFICATE });
    expect(at(`?sslrootcert=${ca}`)).toEqual({ ca: CERTIFICATE });
    const byAuthority = { ca: CERTIFICATE, checkServerIdentity: expect.any(Function) };
    expect(at(`?uselibpqcompat=true&sslmode=verify-ca&sslrootcert=${ca}`)).toEqual(byAuthority);
    expect(at(`?uselibpqcompat=true&sslmode=require&sslrootcert=${ca}`)).toEqual(byAuthority);
  });

  test('over a socket it is not', () => {
    const url = 'postgres://u:p@/linking?host=/cloudsql/a:b:c&sslmode=require';
    expect(readDatabaseUrl(url).ssl).toBe(false);
  });

  test('and nothing is warned about', () => {
    const warn = jest.spyOn(process, 'emitWarning');
    for (const mode of ['prefer', 'require', 'verify-ca']) at(`?sslmode=${mode}`);
    expect(warn).not.toHaveBeenCalled();
    warn.mockRestore();
  });
});

describe('a URL that can not be meant is refused', () => {
  const PASSWORDS = [
    'pass/word-1',
    'pass?word-1',
    'pass#word-1',
    '12/word-1',
    '12#word-1',
    '12?word-1',
    'a@b/word-1',
    '%ff-word-1',
  ];

  test.each(PASSWORDS)('with the password %s, which wants percent-encoding', (password) => {
    const problem = problemOf(`postgres://user:${password}@db.example.com/linking`);
    expect(problem).toMatch(/expected .*%40 for @, %2F for \//);
    expect(problem).not.toContain('word-1');
  });

  test.each([
    ['mysql://u:p@db/linking', 'postgres://'],
    ['db.example.com', 'postgres://'],
    ['postgres:db', 'postgres://'],
    ['postgres://u:p@db.example.com:port/linking', 'postgres://'],
    ['postgres://u:p@db.example.com/linking?port=many', 'port'],
    ['postgres://u:p@db.example.com/linking?sslmode=Require', 'sslmode'],
    ['postgres://u:p@db.example.com/linking?sslmode=allow', 'verify-full'],
    ['postgres://u:p@db.example.com/linking?ssl=yes', 'no-verify'],
    ['postgres://u:p@db.example.com/linking?uselibpqcompat=true&sslmode=verify-ca', 'sslrootcert='],
    ['postgres://u:p@db.example.com/linking?sslrootcert=/no/such/file.pem', 'sslrootcert'],
  ])('%s', (url, expected) => {
    const problem = problemOf(url);
    expect(problem).toMatch(/expected /);
    expect(problem).toContain(expected);
  });

  test('with files that hold no certificate, or no key to it', () => {
    const at = (query: string) => problemOf(`postgres://u:p@db.example.com/linking?${query}`);
    expect(at(`sslrootcert=${join(folder, 'no.pem')}`)).toContain('PEM');
    expect(at(`sslrootcert=${folder}`)).toContain('PEM');
    expect(at(`sslcert=${ca}`)).toContain('sslkey');
  });
});
