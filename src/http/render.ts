import type { Response } from 'express';

/**
 * What each page's template gets, by the template's name. The room that shows a page adds its line, which has to say the
 * same as the top of the template: `test/views/context.test.ts` compares the two.
 */
export interface Views {
  error: {
    title: string;
    heading: string;
    message: string;
    steps: string[];
    status: number;
    /** What a person who asks for help can quote; null where there is nothing to look up. */
    reference: string | null;
  };
}

/** Answers with a page. A value that its template does not declare is refused, also where it came by a spread. */
export function render<Name extends keyof Views, Given extends Views[Name]>(
  response: Response,
  name: Name,
  view: Given & Record<Exclude<keyof Given, keyof Views[Name]>, never>,
): void {
  response.render(name, view);
}
