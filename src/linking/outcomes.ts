import { type Link, NONCE_TOO_OLD } from '../ring-accounts/links.js';

/** The states of a link, as pages show them. */
export type LinkOutcome =
  'linked' | 'being-finished' | 'ring-unreachable' | 'sign-in-again' | 'refused' | 'needs-relinking' | 'removed';

/** The outcomes of a visit to the Account Link URL. */
export type Outcome =
  | LinkOutcome
  | 'already-linked'
  | 'linked-by-someone-else'
  | 'no-match'
  | 'app-removed'
  | 'expired'
  | 'from-the-future'
  | 'malformed'
  | 'nothing-to-link';

/** The page of an outcome. */
export interface OutcomeView {
  tone: 'success' | 'working' | 'problem';
  heading: string;
  paragraphs: string[];
  /** The user's next steps, in order. */
  steps: string[];
  homeLink: boolean;
  refreshLink: boolean;
}

export interface OutcomePage extends OutcomeView {
  status: number;
  /** Whether the visitor may be another user here, and is offered to sign in as that one. */
  switchUser: boolean;
}

const TAP_SIGN_IN_AGAIN = ['Go back to the Ring app.', 'Open this app there and tap Sign In again.'];

const REMOVE_AND_ADD_AGAIN = [
  'Go back to the Ring app and open My Apps.',
  'Remove this app, then add it again from the Ring Appstore.',
  'Tap Sign In when the Ring app asks you to.',
];

const page = (
  status: number,
  tone: OutcomePage['tone'],
  heading: string,
  paragraphs: string[],
  steps: string[],
  ways: Partial<Pick<OutcomePage, 'homeLink' | 'refreshLink' | 'switchUser'>> = {},
): OutcomePage => ({
  status,
  tone,
  heading,
  paragraphs,
  steps,
  homeLink: false,
  refreshLink: false,
  switchUser: false,
  ...ways,
});

/** The page of each outcome: what happened, and what to do next. */
export const OUTCOME_PAGES: Readonly<Record<Outcome, OutcomePage>> = {
  linked: page(
    200,
    'success',
    'Your Ring account is linked',
    ['You’re all set. Ring will send you an email that confirms it.'],
    [],
    { homeLink: true },
  ),
  'being-finished': page(
    202,
    'working',
    'Your link is being finished',
    [
      'We’ve found your Ring account and are waiting for Ring to confirm the link. You don’t have to keep this page open.',
    ],
    ['Check again in a minute.'],
    { homeLink: true, refreshLink: true },
  ),
  'ring-unreachable': page(
    202,
    'working',
    'Ring isn’t answering right now',
    [
      'We’ve found your Ring account, but can’t reach Ring to confirm the link. We keep trying and finish it by ourselves.',
    ],
    ['Check again in a few minutes. There is nothing you need to do in the Ring app.'],
    { homeLink: true, refreshLink: true },
  ),
  'sign-in-again': page(
    202,
    'working',
    'One more tap in the Ring app',
    ['Ring was away for so long that it wants to see you again before it confirms the link.'],
    TAP_SIGN_IN_AGAIN,
    { homeLink: true },
  ),
  'already-linked': page(
    200,
    'success',
    'Your Ring account is already linked',
    ['It is linked to the account you’re signed in with. There is nothing left to do.'],
    [],
    { homeLink: true },
  ),
  'linked-by-someone-else': page(
    409,
    'problem',
    'This Ring account is linked to another account',
    ['A Ring account can be linked to one account here at a time, and this one is linked to a different one.'],
    [
      'If that account is yours, choose “Use another account” and sign in with it.',
      'If it isn’t, open My Apps in the Ring app and remove this app.',
      'Then add it again from the Ring Appstore and tap Sign In.',
    ],
    { switchUser: true },
  ),
  refused: page(
    409,
    'problem',
    'Ring did not accept the link',
    ['Ring said no when we asked it to confirm. Nothing is linked.'],
    REMOVE_AND_ADD_AGAIN,
  ),
  'needs-relinking': page(
    409,
    'problem',
    'This link has to be made again',
    ['Ring no longer lets us see your devices.'],
    REMOVE_AND_ADD_AGAIN,
    { homeLink: true },
  ),
  removed: page(
    200,
    'problem',
    'This link has ended',
    ['The app was removed in the Ring app, so nothing is linked any more.'],
    ['To link again, add this app from the Ring Appstore.', 'Tap Sign In when the Ring app asks you to.'],
    { homeLink: true },
  ),
  'no-match': page(
    404,
    'problem',
    'We could not find your Ring account',
    [
      'Ring has not told us about it, or it did so more than ten minutes ago. Nothing is linked.',
      'If this Ring account is already linked to another account here, sign in with that one.',
    ],
    [
      'Go back to the Ring app, open this app there and tap Sign In again.',
      'If you see this page again, open My Apps in the Ring app and remove this app.',
      'Then add it again from the Ring Appstore.',
    ],
    { switchUser: true },
  ),
  'app-removed': page(
    409,
    'problem',
    'This app was removed in the Ring app',
    ['Ring has told us that this app was removed from your Ring account. Nothing is linked.'],
    [
      'Go back to the Ring app and open My Apps.',
      'If this app is still there, remove it.',
      'Then add it again from the Ring Appstore and tap Sign In.',
    ],
  ),
  expired: page(
    400,
    'problem',
    'This page has expired',
    ['For your safety, the way here from the Ring app works for ten minutes only. Nothing is linked.'],
    TAP_SIGN_IN_AGAIN,
  ),
  'from-the-future': page(
    400,
    'problem',
    'The time does not add up',
    ['The Ring app sent you here with a time that has not come yet. Nothing is linked.'],
    TAP_SIGN_IN_AGAIN,
  ),
  malformed: page(
    400,
    'problem',
    'This address is not complete',
    ['The address that brought you here is not the one that the Ring app makes. Nothing is linked.'],
    TAP_SIGN_IN_AGAIN,
  ),
  'nothing-to-link': page(
    400,
    'problem',
    'There is nothing to link right now',
    ['Linking starts in the Ring app, and only the Ring app can bring you here.'],
    TAP_SIGN_IN_AGAIN,
    { homeLink: true },
  ),
};

/** The state of a link, the same wherever it is shown. */
export function outcomeOfLink(link: Link): LinkOutcome {
  switch (link.status) {
    case 'CONFIRMING':
      if (link.lastError === NONCE_TOO_OLD) return 'sign-in-again';
      return link.lastError === null ? 'being-finished' : 'ring-unreachable';
    case 'COMPLETED':
      return 'linked';
    case 'REFUSED':
      return 'refused';
    case 'REAUTH_REQUIRED':
      return 'needs-relinking';
    case 'REMOVED':
      return 'removed';
  }
}
