/**
 * The signed-in partner user's e-mail as Ring wants to show it: first and last character of the local part around
 * `***`, the domain kept (`u***r@partner.example.com`). A local part of one character stands on both sides, so that the
 * mask never tells how long it is.
 */
export function maskEmail(email: string): string {
  const at = email.lastIndexOf('@');
  // By code point: half of a surrogate pair would be no text at all.
  const local = Array.from(email.slice(0, at));
  return `${local.at(0) ?? ''}***${local.at(-1) ?? ''}${email.slice(at)}`;
}
