/** More streams than a test or a person needs at once. This many take a fifth of a core. */
const MOST_STREAMS = 32;

/** The media streams of live views that are being played. */
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
   * Starts a stream with an SDP answer to the offer. It plays as long as it is watched, and until the signal is
   * aborted.
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

  /** Fulfils when all streams are over. They end with their signals. */
  async ended(): Promise<void> {
    await Promise.all(this.#lives);
  }
}

/** WebRTC is loaded with the first stream: it takes a fifth of a second and 30 MB, and most simulators play none. */
async function openPeer(offer: string) {
  const webrtc = await import('./webrtc.js');
  return webrtc.openPeer(offer);
}
