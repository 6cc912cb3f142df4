/**
 * Lets all who ask share one look: one at a time is under way, and its result is given to everybody who asks until it is
 * `freshMs` old, counted from its beginning. An error is shared as well. However many ask, the looks do not become more.
 *
 * @param freshMs in ms; with 0, a look is only shared while it is under way
 */
export function shareLook<Result>(freshMs: number, look: () => Promise<Result>): () => Promise<Result> {
  let latest: Promise<Result> | undefined;
  let isUnderWay = false;
  let freshUntil = 0;

  return () => {
    if (latest !== undefined && (isUnderWay || performance.now() < freshUntil)) return latest;
    freshUntil = performance.now() + freshMs;
    isUnderWay = true;
    latest = look().finally(() => {
      isUnderWay = false;
    });
    return latest;
  };
}
