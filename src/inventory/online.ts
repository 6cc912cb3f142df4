import type { Knex } from 'knex';
import { endLiveViews } from '../live-views/live-views.js';
import { pauseOffline, resumeOnline } from '../pictures/schedule-rows.js';
import type { DeviceKey } from '../ring-accounts/device-scope.js';
import { lockOnline, type OnlineRow, storeOnline } from './device-rows.js';

/** What Ring says about whether a device is online. */
export interface OnlineWord extends DeviceKey {
  online: boolean;
  /** When Ring said so: the newest word counts, whenever it arrives. */
  at: Date;
  /** Whether that is when it became so. An answer to a question of ours tells only that it is so by then. */
  isChange: boolean;
}

/**
 * Notes whether devices are online, with what follows: an offline device has no live view and takes no pictures.
 *
 * @param words in the order of arrival, any number about each device
 * @returns the last words about devices that Ring has still to describe
 */
export async function setOnline<Word extends OnlineWord>(
  trx: Knex.Transaction,
  words: readonly Word[],
  now: Date,
): Promise<Word[]> {
  const rows = new Map((await lockOnline(trx, words)).map((row) => [keyOf(row.account_id, row.id), row]));
  const heard = [...byDevice(words)]
    .map(([key, some]) => hear(rows.get(key), some))
    .filter(({ standing }) => standing.length > 0);
  if (heard.length === 0) return [];
  await storeOnline(
    trx,
    heard.map(({ state }) => state),
  );
  const gone = heard.filter(({ standing }) => standing.some(({ online }) => !online)).flatMap(lastOf);
  for (const { accountId, deviceId } of gone) await endLiveViews(trx, { accountId, deviceId }, 'DEVICE_OFFLINE', now);
  if (gone.length > 0) await pauseOffline(trx, gone);
  const back = heard.flatMap(lastOf).filter(({ online }) => online);
  if (back.length > 0) await resumeOnline(trx, back, now);
  return heard.filter(({ state }) => state.name === null).flatMap(lastOf);
}

const keyOf = (accountId: string, deviceId: string): string => JSON.stringify([accountId, deviceId]);

function byDevice<Word extends OnlineWord>(words: readonly Word[]): Map<string, Word[]> {
  const grouped = new Map<string, Word[]>();
  for (const word of words) {
    const key = keyOf(word.accountId, word.deviceId);
    const some = grouped.get(key);
    if (some === undefined) grouped.set(key, [word]);
    else some.push(word);
  }
  return grouped;
}

interface Heard<Word> {
  state: Omit<OnlineRow, 'removed_at'>;
  /** The words that were the newest when they came. */
  standing: Word[];
}

const lastOf = <Word>({ standing }: Heard<Word>): Word[] => standing.slice(-1);

/** @param words about one device, in the order of arrival; at least one */
function hear<Word extends OnlineWord>(device: OnlineRow | undefined, words: readonly Word[]): Heard<Word> {
  const [{ accountId, deviceId } = { accountId: '', deviceId: '' }] = words;
  const { removed_at, ...known } = device ?? { ...UNKNOWN, account_id: accountId, id: deviceId };
  const heard: Heard<Word> = { state: known, standing: [] };
  if (removed_at !== null) return heard;
  for (const word of words) {
    const { online, online_at, online_since } = heard.state;
    if (online_at !== null && word.at < online_at) continue;
    const since = word.isChange ? word.at : null;
    const isSame = online === word.online;
    heard.state = {
      ...known,
      online: word.online,
      online_at: word.at,
      online_since: isSame ? (online_since ?? since) : since,
    };
    heard.standing.push(word);
  }
  return heard;
}

const UNKNOWN = { name: null, online: null, online_at: null, online_since: null, removed_at: null };
