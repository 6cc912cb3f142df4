import { randomBytes } from 'node:crypto';
import { BoundedMap } from './bounded-map.js';
import type { Device } from './devices.js';
import type { Span } from './recordings.js';

/** A pre-signed URL is good for 60 s. */
const LIFETIME_MS = 60_000;
const DOWNLOADS_KEPT = 10_000;

export const IMAGE_FORMATS = ['jpeg', 'png'] as const;
export type ImageFormat = (typeof IMAGE_FORMATS)[number];

export interface Resolution {
  width: number;
  height: number;
}

/** What the caller asked for. Whether it was recorded shows at the download. Times in epoch ms. */
export type Wanted =
  | { kind: 'image'; which: 'at'; timestamp: number; format: ImageFormat; resolution: Resolution | undefined }
  | { kind: 'image'; which: 'latest'; within: Span; format: ImageFormat; resolution: Resolution | undefined }
  | { kind: 'clip'; timestamp: number; duration: number };

/** The picture or clip behind a pre-signed URL. */
export interface Download {
  account_id: string;
  device: Device;
  /** epoch ms */
  at: number;
  wanted: Wanted;
}

/**
 * The pre-signed URLs that were handed out, by their token. The URL alone entitles to the download, and any number of
 * times.
 */
export class SignedDownloads {
  readonly #downloads = new BoundedMap<string, Download>(DOWNLOADS_KEPT);

  /** Returns the token. */
  add(download: Download): string {
    const securityToken = randomBytes(32).toString('hex');
    this.#downloads.set(securityToken, download);
    return securityToken;
  }

  /** Finds a download of any age. */
  find(securityToken: string | null): Download | undefined {
    return securityToken === null ? undefined : this.#downloads.get(securityToken);
  }
}

/** @param now epoch ms */
export function isFresh({ at }: Download, now: number): boolean {
  return now - at < LIFETIME_MS;
}
