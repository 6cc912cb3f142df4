import { type Request, type Response, Router } from 'express';
import type { Knex } from 'knex';
import type { FormError } from '../accounts/routes.js';
import { csrfToken } from '../http/csrf.js';
import { methodNotAllowed } from '../http/errors.js';
import { type Link, linksOfUser } from './links.js';
import { outcomeOfLink, OUTCOME_PAGES } from './outcomes.js';

export interface HomePage {
  router: Router;
  /** The home page of someone who is not signed in. */
  showSignedOut: (request: Request, response: Response, email?: string, error?: FormError) => void;
}

/** The App Homepage URL: how each of the user's links stands, or how to get one. */
export function createHomePage(database: Knex): HomePage {
  function showSignedOut(request: Request, response: Response, email = '', error: FormError | null = null): void {
    response.render('home', { title: 'Home', csrfToken: csrfToken(request), user: null, email, error, links: [] });
  }

  const router = Router();
  const route = router.route('/ring/home');
  route.get(async (request, response) => {
    if (request.user === undefined) {
      showSignedOut(request, response);
      return;
    }
    const links = await linksOfUser(database, request.user.id);
    response.render('home', {
      title: 'Home',
      csrfToken: csrfToken(request),
      user: { email: request.user.email },
      email: '',
      error: null,
      links: links.map(describe),
    });
  });
  route.all(methodNotAllowed('GET', 'HEAD'));
  router.get('/', (_request, response) => {
    response.redirect(303, '/ring/home');
  });
  return { router, showSignedOut };
}

function describe(link: Link) {
  const { heading, paragraphs, tone } = OUTCOME_PAGES[outcomeOfLink(link)];
  return {
    statusText: heading,
    detail: paragraphs.join(' '),
    tone: link.status === 'REMOVED' ? 'ended' : tone,
    since: link.updatedAt.toISOString(),
    // Without the reader's time zone, the day and the zone are named.
    sinceText: `${link.updatedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC`,
  };
}
