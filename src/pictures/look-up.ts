import type { Core } from '../core.js';
import { consentOf } from '../ring-accounts/consent.js';
import { type EncryptedMedia, LONGEST_WINDOW_MS, type RingPicture } from '../ring/media.js';
import { NoLinkError } from '../tokens/errors.js';

/** Looks up the newest picture that Ring has recorded, within a day and since the user shared the device. */
export async function lookUpLatest(
  {
    db,
    ring,
    tokens,
    clock,
    linkClockSkewSeconds,
  }: Pick<Core, 'db' | 'ring' | 'tokens' | 'clock' | 'linkClockSkewSeconds'>,
  { accountId, deviceId }: { accountId: string; deviceId: string },
): Promise<RingPicture | EncryptedMedia> {
  const consent = await consentOf(db, accountId);
  if (consent === undefined) throw new NoLinkError('there is no link on whose behalf Ring could be called');
  const skewMs = linkClockSkewSeconds * 1_000;
  const dayAgo = clock().getTime() - LONGEST_WINDOW_MS;
  const start = new Date(Math.max(consent.getTime(), dayAgo) + skewMs);
  return tokens.forAccount(accountId, (accessToken) =>
    ring.downloadPicture(accessToken, deviceId, { type: 'latest_in_range', start }),
  );
}
