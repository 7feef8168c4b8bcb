/** The way out: connections to smarthosts, and the filters on it. */
import type { ForwardConfig } from "../core/config.ts";
import type { Endpoint } from "../core/endpoint.ts";
import type { Journal } from "../core/events.ts";
import type { Transport } from "../core/transport.ts";
import type { InstanceOptions, Reloadable } from "./options.ts";

export type OpenTransport = (journal: Journal) => Transport;

export interface ClientTerms {
  readonly journal: Journal;
  /** Mail is never sent there. */
  readonly isOwnListener: (far: Endpoint) => boolean;
  readonly onReloadable: (one: Reloadable) => void;
}

/** Loads what only forwarding needs, and reads secrets and keys. Throws TLS_SETUP, SECRETS_SYNTAX. */
export async function openClient(
  { domain, clock, readSecret }: InstanceOptions,
  forward: ForwardConfig,
  { journal, isOwnListener, onReloadable }: ClientTerms,
): Promise<OpenTransport> {
  const [{ openTransport }, { HostSkills }, { openClientTls }, { openClientAccounts }] =
    await Promise.all([
      import("../smtp/transport.ts"),
      import("../smtp/client-skills.ts"),
      import("../smtp/client-tls.ts"),
      import("../auth/client-accounts.ts"),
    ]);
  const { client: config, recipients } = forward;
  const tls = config.tls === null ? null : openClientTls(config.tls);
  const { secrets, authConfig } = config;
  const accounts = openClientAccounts({ secrets, authConfig, journal, clock, read: readSecret });
  onReloadable(accounts);
  const skills = new HostSkills();
  return (told) =>
    openTransport({
      ...{ config, recipients, domain, accounts, journal: told, clock, tls, isOwnListener, skills },
    });
}
