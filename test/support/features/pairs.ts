import pg from 'pg';

export interface Pair {
  id: string;
  status: string;
  account_id: string | null;
  key_id: string | null;
  access_token_ciphertext: Buffer | null;
  refresh_token_ciphertext: Buffer | null;
  created_at: Date;
}

/** The columns of a `ring_tokens` row whose pair has ended. */
export const ERASED = { key_id: null, access_token_ciphertext: null, refresh_token_ciphertext: null };

export interface NewPairs {
  status: 'RECEIVED' | 'UNCLAIMED' | 'CLAIMED' | 'EXPIRED' | 'REVOKED';
  count?: number;
  createdAt?: Date;
  /** The account IDs are this text and a number from 1, padded so that they sort like numbers. */
  account?: string;
  /** Whether pairs in the pool have a place there, as those have that entered it through the service. True unless given. */
  isPlaced?: boolean;
}

/** Inserts rows into `ring_tokens` directly, without an exchange. Their ciphertext is noise of a real one's size. */
export async function insertPairs(
  database: pg.Pool | pg.Client,
  { status, count = 1, createdAt = new Date(), account = `${status.toLowerCase()}-`, isPlaced = true }: NewPairs,
): Promise<void> {
  const noise = `decode(repeat(md5(n || 'noise'), 5), 'hex')`;
  const unlessEnded = (value: string) => `CASE WHEN $1 IN ('EXPIRED', 'REVOKED') THEN NULL ELSE ${value} END`;
  await database.query(
    `INSERT INTO ring_tokens (id, status, account_id, key_id, access_token_ciphertext, refresh_token_ciphertext, scope,
                              access_token_expires_at, created_at, pool_place)
     SELECT gen_random_uuid(), $1, CASE WHEN $1 = 'RECEIVED' THEN NULL ELSE $4 || lpad(n::text, 6, '0') END,
            ${unlessEnded("'test'")}, ${unlessEnded(noise)}, ${unlessEnded(noise)}, 'simulated',
            $3::timestamptz + interval '4 hours', $3,
            CASE WHEN $1 = 'UNCLAIMED' AND $5 THEN nextval('webhook_events_id_seq') END
       FROM generate_series(1, $2::int) AS n`,
    [status, count, createdAt, account, isPlaced],
  );
}
