import { execFile } from 'node:child_process';
import { chown, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { databaseUrl, query, startOwnPostgres, TEMPLATE_DATABASE } from './postgres.js';

const execute = promisify(execFile);

const SIZE_BYTES = 40 * 1024 * 1024;

/**
 * A migrated database on a disk that can be filled. Its write-ahead log is on another disk, as on a well-kept server.
 */
export interface SmallDisk {
  databaseUrl: string;
  /**
   * From now on new users, sessions, codes, pairs and events are refused, and so is a new pair in the place of an old
   * one. Other changes of rows find room.
   */
  fill(): Promise<void>;
  makeRoom(): Promise<void>;
  remove(): Promise<void>;
}

/**
 * A real disk, a file system in memory, if we may mount. An ordinary user may not; then triggers refuse what a full
 * disk would refuse, with the words and the code of Postgres. (A limit on the size of files would be no substitute:
 * Postgres calls its refusals internal errors.)
 */
export async function startSmallDisk(): Promise<SmallDisk> {
  const postgres = await startOwnPostgres();
  const disk = await mountDisk();
  const location = disk && join(disk.path, 'tablespace');
  if (location !== undefined) {
    const [{ data_directory: cluster } = {}] = await query(postgres.url, 'SHOW data_directory');
    const { uid, gid } = await stat(String(cluster));
    await mkdir(location);
    await chown(location, uid, gid);
    await query(postgres.url, `CREATE TABLESPACE small LOCATION '${location}'`);
  }
  const url = databaseUrl(postgres.url, 'small');
  await query(
    databaseUrl(postgres.url, 'postgres'),
    `CREATE DATABASE small TEMPLATE ${TEMPLATE_DATABASE} ${location === undefined ? '' : 'TABLESPACE small'}`,
  );
  await query(url, disk === undefined ? REFUSALS : LITTLE_ROOM);
  const setFull = (isFull: boolean) => query(url, `UPDATE disk.state SET is_full = ${isFull}`);
  return {
    databaseUrl: url,
    async fill() {
      if (disk === undefined) await setFull(true);
      else await disk.fill();
      await query(url, PACK);
    },
    async makeRoom() {
      if (disk === undefined) await setFull(false);
      else await disk.makeRoom();
    },
    async remove() {
      await postgres.remove();
      await disk?.unmount();
    },
  };
}

async function mountDisk() {
  const path = await mkdtemp(join(tmpdir(), 'small-disk-'));
  try {
    await execute('mount', ['-t', 'tmpfs', '-o', `size=${SIZE_BYTES},mode=0755`, 'tmpfs', path]);
  } catch {
    await rm(path, { recursive: true });
    return undefined;
  }
  const ballast = join(path, 'ballast');
  return {
    path,
    async fill() {
      await writeFile(ballast, Buffer.alloc(SIZE_BYTES)).catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      });
    },
    makeRoom: () => rm(ballast, { force: true }),
    async unmount() {
      await execute('umount', [path]);
      await rm(path, { recursive: true });
    },
  };
}

/** SQL that runs a statement for each table, whose name is `%s`. */
const EACH_TABLE = (statement: string) => `
  DO $each$
  DECLARE one regclass;
  BEGIN
    FOR one IN SELECT format('%I.%I', schemaname, tablename)::regclass FROM pg_tables
                WHERE schemaname IN ('public', 'graphile_worker') LOOP
      EXECUTE format($statement$${statement}$statement$, one);
    END LOOP;
  END $each$`;

/** Existing rows of a table have room to change. Only pairs have to leave their page to change. */
const LITTLE_ROOM = `${EACH_TABLE('ALTER TABLE %s SET (fillfactor = 10)')};
  ALTER TABLE ring_tokens RESET (fillfactor)`;

/** The triggers fire for a new row only: an `ON CONFLICT … DO UPDATE` that finds a row needs no room. */
const REFUSALS = `
  CREATE SCHEMA disk;
  CREATE TABLE disk.state AS SELECT false AS is_full;
  CREATE FUNCTION disk.refuse() RETURNS trigger LANGUAGE plpgsql AS $refuse$
  BEGIN
    IF (SELECT is_full FROM disk.state) THEN
      RAISE EXCEPTION USING ERRCODE = 'disk_full', MESSAGE = 'could not extend file: No space left on device';
    END IF;
    RETURN NULL;
  END $refuse$;
  ${EACH_TABLE('CREATE TRIGGER refuse AFTER INSERT ON %s FOR EACH ROW EXECUTE FUNCTION disk.refuse()')};
  CREATE TRIGGER refuse_pairs AFTER UPDATE OF refresh_token_ciphertext ON ring_tokens
    FOR EACH ROW EXECUTE FUNCTION disk.refuse()`;

/** Small rows without meaning, for the tables whose last page may have room for some more. */
const SMALL_ROWS = [
  `INSERT INTO users (id, email, password_hash, created_at)
   VALUES (gen_random_uuid(), gen_random_uuid() || '@example.com', '', now())`,
  `INSERT INTO sessions (sid, sess, expire) VALUES (gen_random_uuid(), '{}', now())`,
  `INSERT INTO rate_limits (key, expire) VALUES (gen_random_uuid(), 0)`,
  `INSERT INTO token_exchanges (code_digest, outcome, started_at)
   VALUES (sha256(gen_random_uuid()::text::bytea), 'REFUSED', now())`,
  `INSERT INTO ring_tokens (id, status, scope, account_id, access_token_expires_at, created_at)
   VALUES (gen_random_uuid(), 'EXPIRED', '', '', now(), now())`,
  `INSERT INTO webhook_events (request_id, account_id, type, status, occurred_at, received_at)
   VALUES (gen_random_uuid(), '', 'button_press', 'PROCESSED', now(), now())`,
];

/**
 * Uses up the room that is left on a full disk. One statement does it all, because it runs while the app waits for Ring, and
 * for no longer than that.
 */
const PACK = `
  DO $pack$
  DECLARE
    insertion text;
    refused int;
  BEGIN
    FOREACH insertion IN ARRAY ARRAY[${SMALL_ROWS.map((insertion) => `$row$${insertion}$row$`).join(', ')}] LOOP
      refused := 0;
      WHILE refused < 3 LOOP
        -- Reading a page that is nearly full clears its dead rows, which would be room later on.
        PERFORM * FROM ring_tokens;
        BEGIN
          EXECUTE insertion;
        EXCEPTION WHEN disk_full THEN
          refused := refused + 1;
        END;
      END LOOP;
    END LOOP;
  END $pack$`;
