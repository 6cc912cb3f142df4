/** Says what time it is. It is passed in wherever time matters, so that a test can choose the time. */
export type Clock = () => Date;

export const systemClock: Clock = () => new Date();
