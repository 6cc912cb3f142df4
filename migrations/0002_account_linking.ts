import type { Knex } from 'knex';

/** Token pairs and their pool of unclaimed rows, the codes that brought them, and the links that claim them. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE ring_tokens (
      -- also the additional authenticated data of both ciphertexts, so it is chosen before they are made
      id                       uuid PRIMARY KEY,
      status                   text NOT NULL
                               CHECK (status IN ('RECEIVED', 'UNCLAIMED', 'CLAIMED', 'EXPIRED', 'REVOKED')),
      account_id               text,
      key_id                   text,
      access_token_ciphertext  bytea,
      refresh_token_ciphertext bytea,
      scope                    text NOT NULL,
      access_token_expires_at  timestamptz NOT NULL,
      created_at               timestamptz NOT NULL,
      claimed_at               timestamptz,
      CONSTRAINT ring_tokens_account_known
        CHECK (account_id IS NOT NULL OR status IN ('RECEIVED', 'EXPIRED')),
      CONSTRAINT ring_tokens_ended_means_erased
        CHECK ((status IN ('EXPIRED', 'REVOKED')) = (key_id IS NULL)
          AND (key_id IS NULL) = (access_token_ciphertext IS NULL)
          AND (key_id IS NULL) = (refresh_token_ciphertext IS NULL))
    )`);
  // This index serves matching by itself: every match reads the whole pool, and the index is the whole pool and nothing
  // else. It is unique, because a newer pair for the same account supersedes the older one.
  await knex.raw(`
    CREATE UNIQUE INDEX ring_tokens_unclaimed ON ring_tokens (account_id) WHERE status = 'UNCLAIMED'`);
  // Received pairs have an index of their own. If one index held both, Postgres might choose it for matching, and read
  // the table behind it.
  await knex.raw(`CREATE INDEX ring_tokens_received ON ring_tokens (created_at) WHERE status = 'RECEIVED'`);
  await knex.raw('CREATE INDEX ring_tokens_account ON ring_tokens (account_id)');
  // The index can answer without the table only for pages that vacuum has marked all-visible. Pairs enter and leave the
  // pool all day while claimed rows pile up, so vacuuming by a share of the table would come far too late. Vacuum by
  // count.
  await knex.raw(`
    ALTER TABLE ring_tokens SET (
      autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 200,
      autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200)`);

  await knex.raw(`
    CREATE TABLE token_exchanges (
      -- SHA-256 of the authorization code: it recognises the code, and is useless to a reader of the table
      code_digest bytea PRIMARY KEY,
      outcome     text NOT NULL CHECK (outcome IN ('EXCHANGING', 'STORED', 'REFUSED', 'FAILED', 'UNCERTAIN')),
      started_at  timestamptz NOT NULL
    )`);
  await knex.raw('CREATE INDEX token_exchanges_started ON token_exchanges (started_at)');

  await knex.raw(`
    CREATE TABLE account_links (
      id                 uuid PRIMARY KEY,
      user_id            uuid NOT NULL REFERENCES users,
      account_id         text NOT NULL,
      token_id           uuid NOT NULL REFERENCES ring_tokens,
      status             text NOT NULL
                         CHECK (status IN ('CONFIRMING', 'COMPLETED', 'REFUSED', 'REAUTH_REQUIRED', 'REMOVED')),
      -- the progress of the two calls to Ring; written before each call and after its answer
      confirmation_step  text CHECK (confirmation_step IN ('CLAIMED', 'POSTING', 'PROBING', 'AWAITING', 'PATCHING')),
      account_identifier text NOT NULL,
      -- recognises the nonce after the nonce itself is erased
      nonce_digest       bytea NOT NULL,
      -- nonce and time of Ring's redirect, as long as a call to Ring may need them
      request_key_id     text,
      request_ciphertext bytea,
      -- the last refusal by Ring, or the reason why it could not be asked: kind and code of a RingError, never free text
      last_error         text,
      created_at         timestamptz NOT NULL,
      updated_at         timestamptz NOT NULL,
      CONSTRAINT account_links_step_while_confirming
        CHECK ((status = 'CONFIRMING') = (confirmation_step IS NOT NULL)),
      CONSTRAINT account_links_request_while_confirming
        CHECK ((status = 'CONFIRMING') = (request_ciphertext IS NOT NULL)
          AND (request_ciphertext IS NULL) = (request_key_id IS NULL))
    )`);
  // One Ring account belongs to one partner user at a time.
  await knex.raw(`
    CREATE UNIQUE INDEX account_links_live ON account_links (account_id)
      WHERE status IN ('CONFIRMING', 'COMPLETED', 'REAUTH_REQUIRED')`);
  await knex.raw('CREATE INDEX account_links_user ON account_links (user_id, updated_at)');
  await knex.raw('CREATE INDEX account_links_nonce ON account_links (nonce_digest)');
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE account_links, token_exchanges, ring_tokens');
}
