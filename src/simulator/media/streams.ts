/** More than tests or people need at once. So many take a fifth of a core. */
const MOST_STREAMS = 32;

/** The live views that are played now. */
export class Streams {
  readonly #lives = new Set<Promise<void>>();
  readonly #log: (line: string) => void;

  constructor(log: (line: string) => void) {
    this.#log = log;
  }

  get isFull(): boolean {
    return this.#lives.size >= MOST_STREAMS;
  }

  /**
   * Begins one with an SDP answer to the offer. It is played until nobody watches any more or the signal is aborted.
   *
   * @throws when the offer can't be used
   */
  async begin(offer: string, isWatched: () => boolean, signal: AbortSignal): Promise<string> {
    const opening = openPeer(offer);
    const life = opening
      .then((peer) => peer.play(isWatched, signal))
      .catch((error: unknown) => {
        this.#log(`live view: ${error instanceof Error ? error.message : typeof error}`);
      })
      .finally(() => this.#lives.delete(life));
    this.#lives.add(life);
    return (await opening).answer;
  }

  /** All are over; they end with their signals. */
  async ended(): Promise<void> {
    await Promise.all(this.#lives);
  }
}

/** Loaded with the first: it takes a fifth of a second and 30 MB, and few of those who start a simulator look. */
async function openPeer(offer: string) {
  const webrtc = await import('./webrtc.js');
  return webrtc.openPeer(offer);
}
