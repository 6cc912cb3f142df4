/** The most bytes of a body, in the words of Express' parsers. */
export const BODY_LIMITS = { form: '8kb', code: '16kb', sdp_offer: '64kb' } as const;
