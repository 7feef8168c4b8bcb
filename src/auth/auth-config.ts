/** --server-auth-config and --client-auth-config: which mechanisms may be used, and when. */

/** Which mechanisms pass in one state of a session. Names are in upper case. */
export interface MechanismRule {
  /** null: all. */
  readonly only: ReadonlySet<string> | null;
  readonly without: ReadonlySet<string>;
}

export interface AuthRules {
  readonly insecure: MechanismRule;
  readonly secure: MechanismRule;
}

/**
 * Reads `m:plain,login;x:cram-md5`: m and a keep what they list, x and d remove it; with an a or d item
 * these are for secure sessions and m and x for insecure ones, else m and x are for both. A name
 * alone is an m item. Source: R12.4, observed, E-MailRelay 2.6.
 */
export function parseAuthConfig(text: string): AuthRules {
  const items = new Map<string, ReadonlySet<string>>();
  for (const item of text.split(";").map((one) => one.trim())) {
    const [, letter = "m", list = item] = /^([mxad]):(.*)$/i.exec(item) ?? [];
    if (item !== "") items.set(letter.toLowerCase(), namesOf(list));
  }
  const insecure = ruleOf(items.get("m"), items.get("x"));
  const split = items.has("a") || items.has("d");
  return { insecure, secure: split ? ruleOf(items.get("a"), items.get("d")) : insecure };
}

/** True if the rule lets this mechanism pass. */
export function passes(rule: MechanismRule, mechanism: string): boolean {
  return (rule.only?.has(mechanism) ?? true) && !rule.without.has(mechanism);
}

function ruleOf(
  only: ReadonlySet<string> | undefined,
  without: ReadonlySet<string> | undefined,
): MechanismRule {
  return { only: only ?? null, without: without ?? new Set() };
}

function namesOf(list: string): ReadonlySet<string> {
  const names = list.split(",").map((name) => name.trim().toUpperCase());
  return new Set(names.filter((name) => name !== ""));
}
