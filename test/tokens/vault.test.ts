import { createDecipheriv, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { openAccessToken, sealPair } from '../../src/tokens/token-pairs.js';
import { createVault, VaultError } from '../../src/tokens/vault.js';
import type { Pair } from '../support/features/pairs.js';
import { scaled } from '../support/waiting/limits.js';
import { until } from '../support/waiting/until.js';
import { startWorld, type World } from '../support/worlds/world.js';

const newKey = (id: string) => ({ id, key: randomBytes(32) });
const PLACE = 'ring_tokens/7/access_token';
const SECRET = 'sécret-token';

describe('the vault', () => {
  const key = newKey('one');
  const vault = createVault([key]);

  test('opens what it sealed, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 5_000 }), fc.string(), (secret, place) => {
        expect(vault.open(vault.seal(secret, place), place)).toBe(secret);
      }),
    );
  });

  test('still opens what was sealed with another program: IV, tag and ciphertext of AES-256-GCM', () => {
    const known = Buffer.from('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'hex');
    const ciphertext = Buffer.from(
      'a0a1a2a3a4a5a6a7a8a9aaabbfb41f80df292473bb736f760981ce9195dbd54e37ae769f160aecb669',
      'hex',
    );
    expect(createVault([{ id: 'old', key: known }]).open({ keyId: 'old', ciphertext }, PLACE)).toBe('sécret token');
  });

  test('makes AES-256-GCM that node:crypto opens with the key and the place', () => {
    const { ciphertext, keyId } = vault.seal(SECRET, PLACE);
    const decipher = createDecipheriv('aes-256-gcm', key.key, ciphertext.subarray(0, 12));
    decipher.setAAD(Buffer.from(PLACE)).setAuthTag(ciphertext.subarray(12, 28));
    const opened = Buffer.concat([decipher.update(ciphertext.subarray(28)), decipher.final()]);
    expect({ keyId, text: opened.toString('utf8') }).toEqual({ keyId: 'one', text: SECRET });
  });

  test('never seals twice alike, so that equal tokens do not show', () => {
    const sealed = Array.from({ length: 500 }, () => vault.seal(SECRET, PLACE).ciphertext);
    expect(new Set(sealed.map((ciphertext) => ciphertext.subarray(0, 12).toString('hex'))).size).toBe(500);
    expect(new Set(sealed.map((ciphertext) => ciphertext.subarray(28).toString('hex'))).size).toBe(500);
  });

  test.each([
    ['another row', 'ring_tokens/8/access_token'],
    ['another column', 'ring_tokens/7/refresh_token'],
    ['another table', 'account_links/7/nonce'],
    ['nowhere', ''],
  ])('does not open a ciphertext that was moved to %s', (_where, place) => {
    const sealed = vault.seal(SECRET, PLACE);
    expect(() => vault.open(sealed, place)).toThrow(VaultError);
  });

  test('does not open a ciphertext of which any one bit was changed', () => {
    const { keyId, ciphertext } = vault.seal(SECRET, PLACE);
    for (let bit = 0; bit < ciphertext.length * 8; bit += 1) {
      const altered = Buffer.from(ciphertext);
      altered.writeUInt8(altered.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3);
      expect(() => vault.open({ keyId, ciphertext: altered }, PLACE)).toThrow(VaultError);
    }
  });

  test('does not open a ciphertext that is too short or too long', () => {
    const { keyId, ciphertext } = vault.seal(SECRET, PLACE);
    for (let length = 0; length < ciphertext.length; length += 1) {
      expect(() => vault.open({ keyId, ciphertext: ciphertext.subarray(0, length) }, PLACE)).toThrow(VaultError);
    }
    const longer = Buffer.concat([ciphertext, Buffer.of(0)]);
    expect(() => vault.open({ keyId, ciphertext: longer }, PLACE)).toThrow(VaultError);
  });

  test('does not open with another key under the same id, nor under an id that it does not know', () => {
    const sealed = vault.seal(SECRET, PLACE);
    expect(() => createVault([newKey('one')]).open(sealed, PLACE)).toThrow(VaultError);
    expect(() => createVault([{ ...key, id: 'two' }]).open(sealed, PLACE)).toThrow(VaultError);
  });

  test('with several keys seals with the first and opens with each', () => {
    const [oldest, older, newest] = [newKey('a'), newKey('b'), newKey('c')];
    const rotated = createVault([newest, older, oldest]);
    expect(rotated.seal(SECRET, PLACE).keyId).toBe('c');
    for (const one of [oldest, older, newest]) {
      expect(rotated.open(createVault([one]).seal(SECRET, PLACE), PLACE)).toBe(SECRET);
    }
  });

  test('does not exist without a key', () => {
    expect(() => createVault([])).toThrow(VaultError);
  });

  test('tells nothing of secret or key when it fails', () => {
    const sealed = vault.seal(SECRET, PLACE);
    const said = [newKey('one'), newKey('two')].map((other) => {
      try {
        return createVault([other]).open(sealed, PLACE);
      } catch (error) {
        return error instanceof VaultError ? `${error.message} ${error.stack ?? ''}` : 'not a VaultError';
      }
    });
    for (const words of said) {
      expect(words).toContain('VaultError');
      expect(words).not.toContain(SECRET);
      expect(words).not.toContain(sealed.ciphertext.toString('base64'));
      expect(words).not.toContain(key.key.toString('base64'));
    }
  });
});

describe('a stored token pair', () => {
  const oldKey = newKey('old');
  const recentKey = newKey('recent');
  const written = ({ id, key }: { id: string; key: Buffer }) => `${id}:${key.toString('base64')}`;
  let world: World;
  beforeAll(async () => {
    world = await startWorld({
      environment: { TOKEN_ENCRYPTION_KEYS: `${written(recentKey)},${written(oldKey)}` },
      patienceMs: scaled(5_000),
    });
  });
  afterAll(() => world.stop());

  const pairsOf = (ids: string[]) => world.sql<Pair>('SELECT * FROM ring_tokens WHERE id = ANY($1) ORDER BY id', [ids]);

  const lookups = async () => (await world.ring.requests()).filter(({ path }) => path === '/v1/users/me');

  /** Installs with pairs whose accounts Ring does not tell yet. Their lookups will be tried again. */
  async function installWithoutIdentification(count: number): Promise<Pair[]> {
    await world.ring.setFaults([{ endpoint: 'users-me', fault: { kind: 'status', status: 503 } }]);
    const before = await lookups();
    for (let n = 0; n < count; n += 1) {
      expect((await world.ring.install(await world.ring.createUser())).callback?.status).toBe(200);
    }
    await until('Ring was asked about each', async () => (await lookups()).length >= before.length + count);
    return world.sql<Pair>(`SELECT * FROM ring_tokens WHERE status = 'RECEIVED' ORDER BY created_at, id`);
  }

  test('holds neither token in the clear, and a key id that is configured', async () => {
    const user = await world.ring.createUser();
    await world.ring.install(user);
    const [pair] = await until('the pair is in the pool', async () => {
      const found = await world.sql<Pair>('SELECT * FROM ring_tokens WHERE account_id = $1', [user.account_id]);
      return found.length === 1 && found;
    });
    if (pair?.access_token_ciphertext == null || pair.refresh_token_ciphertext == null) throw new Error('no pair');
    expect(pair.key_id).toBe('recent');
    for (const ciphertext of [pair.access_token_ciphertext, pair.refresh_token_ciphertext]) {
      expect(ciphertext.toString('latin1')).not.toContain('sim-');
    }
    const vault = createVault([recentKey]);
    expect(
      openAccessToken(vault, pair.id, { key_id: 'recent', access_token_ciphertext: pair.access_token_ciphertext }),
    ).toMatch(/^sim-at-/);
  });

  test('sealed under a former key is still linked', async () => {
    const user = await world.ring.createUser();
    await world.ring.install(user);
    const [pair] = await until('the pair is in the pool', async () => {
      const found = await world.sql<Pair>('SELECT * FROM ring_tokens WHERE account_id = $1', [user.account_id]);
      return found.length === 1 && found;
    });
    if (pair?.access_token_ciphertext == null) throw new Error('no pair');
    const accessToken = openAccessToken(createVault([recentKey]), pair.id, {
      key_id: 'recent',
      access_token_ciphertext: pair.access_token_ciphertext,
    });
    const grant = { accessToken, refreshToken: 'not-used-here', scope: '', expiresIn: 14_400 };
    const sealed = sealPair(createVault([oldKey]), pair.id, grant);
    await world.sql(
      `UPDATE ring_tokens SET key_id = $2, access_token_ciphertext = $3, refresh_token_ciphertext = $4 WHERE id = $1`,
      [pair.id, sealed.key_id, sealed.access_token_ciphertext, sealed.refresh_token_ciphertext],
    );

    const visitor = world.visitor();
    await visitor.open((await world.ring.linkUrl(user)).url);
    await visitor.submit('/sign-up', { email: 'former.key@example.com', password: 'correct horse battery staple' });
    expect(visitor.heading).toBe('Your Ring account is linked');
    expect(await world.ring.integrationOf(user)).toMatchObject({ status: 'completed' });
  });

  test('that was moved to another row, or whose tokens were swapped, is not sent to Ring and finds no owner', async () => {
    const [first, second, third] = await installWithoutIdentification(3);
    if (first === undefined || second === undefined || third === undefined)
      throw new Error('three pairs were received');
    await world.sql(
      `UPDATE ring_tokens mine SET access_token_ciphertext = theirs.access_token_ciphertext,
              refresh_token_ciphertext = theirs.refresh_token_ciphertext
         FROM ring_tokens theirs WHERE (mine.id, theirs.id) IN (($1, $2), ($2, $1))`,
      [first.id, second.id],
    );
    await world.sql(
      `UPDATE ring_tokens SET access_token_ciphertext = refresh_token_ciphertext,
              refresh_token_ciphertext = access_token_ciphertext WHERE id = $1`,
      [third.id],
    );
    const refusals = () =>
      world.log.filter((line) => line.includes('VaultError') && line.includes('does not open here'));
    await until('the vault refused all three', () => Promise.resolve(refusals().length >= 3));
    const asked = (await lookups()).length;
    await world.ring.setFaults([]);
    await until('the vault refused one again', () => Promise.resolve(refusals().length >= 4));

    const moved = await pairsOf([first.id, second.id, third.id]);
    expect(moved.map(({ status, account_id }) => ({ status, account_id }))).toEqual(
      Array(3).fill({ status: 'RECEIVED', account_id: null }),
    );
    expect(await lookups()).toHaveLength(asked);
    expect(world.log.join('')).not.toMatch(/sim-(at|rt|code)-/);
  });
});
