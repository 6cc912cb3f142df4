import type { Response } from 'express';

/**
 * The context of each page's template, by the template's name. The room that shows a page adds its line. It has to say the
 * same as the top of the template: `test/views/context.test.ts` compares the two.
 */
export interface Views {
  error: {
    title: string;
    heading: string;
    message: string;
    steps: string[];
    status: number;
    /** The request's id, for a user who asks for help; null where there is nothing to look up. */
    reference: string | null;
  };
}

/** Answers with a page. The compiler refuses a value that the template does not declare, even in a spread. */
export function render<Name extends keyof Views, Given extends Views[Name]>(
  response: Response,
  name: Name,
  view: Given & Record<Exclude<keyof Given, keyof Views[Name]>, never>,
): void {
  response.render(name, view);
}
