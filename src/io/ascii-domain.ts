/** Domains in the form that DNS and envelopes have them. */
import { isIPv4 } from "node:net";
import { domainToASCII } from "node:url";

/**
 * The domain as A-labels (RFC 5890 2.3.2.1); ASCII stays as it is. null for one that has no such form.
 * domainToASCII() alone is not enough: it reads the host of a URL, ends at a "/", decodes "%41", and
 * makes an address of digits. A domain must never become another one on the way.
 */
export function asciiDomain(domain: string): string | null {
  if (!/[^\0-\x7f]/.test(domain)) return domain;
  if (/[^\w.\-\u0080-\u{10ffff}]/u.test(domain)) return null;
  const ascii = domainToASCII(domain);
  return HOST_NAME.test(ascii) && !isIPv4(ascii) ? ascii : null;
}

const HOST_NAME = /^[\w-]+(?:\.[\w-]+)*\.?$/;
