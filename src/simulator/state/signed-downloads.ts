import { randomBytes } from 'node:crypto';
import { BoundedMap } from './bounded-map.js';

/** A pre-signed URL is good for 60 s. */
const LIFETIME_MS = 60_000;
const DOWNLOADS_KEPT = 10_000;

/** The picture behind a pre-signed URL. */
export interface Download {
  account_id: string;
  device_id: string;
  /** epoch ms */
  at: number;
}

/**
 * The pre-signed URLs that were handed out, by their signature. The URL alone entitles to the download, and any number
 * of times.
 */
export class SignedDownloads {
  readonly #downloads = new BoundedMap<string, Download>(DOWNLOADS_KEPT);

  /** Returns the signature. */
  add(download: Download): string {
    const signature = randomBytes(32).toString('hex');
    this.#downloads.set(signature, download);
    return signature;
  }

  /** Finds a download of any age. */
  find(signature: string | null): Download | undefined {
    return signature === null ? undefined : this.#downloads.get(signature);
  }
}

/** @param now epoch ms */
export function isFresh({ at }: Download, now: number): boolean {
  return now - at < LIFETIME_MS;
}
