/** The filters of one instance, if it has any: nothing of them is loaded otherwise. */
import type { Journal } from "../core/events.ts";
import type { FilterRole, OpenFilter } from "../core/filter.ts";
import type { FileStore } from "../spool/file-store.ts";
import type { InstanceOptions } from "./options.ts";

export interface Filters {
  readonly openServerFilter: OpenFilter | null;
  readonly openClientFilter: OpenFilter | null;
  readonly openRoutingFilter: OpenFilter | null;
}

/** Throws CONFIG_INVALID for what none of the filters takes. */
export async function openFilters(
  { config, domain, account, clock }: InstanceOptions,
  store: FileStore,
  journal: Journal,
): Promise<Filters> {
  const { server, client, timeoutMs, deliveryDirectory } = config.filters;
  if (server.length === 0 && client.length === 0) {
    return { openServerFilter: null, openClientFilter: null, openRoutingFilter: null };
  }
  const { openFilter } = await import("../filters/open.ts");
  const open = (values: readonly string[], role: FilterRole): OpenFilter | null =>
    values.length === 0
      ? null
      : openFilter(values, {
          role,
          timeoutMs,
          account,
          domain,
          spoolDirectory: config.spool.directory,
          deliveryDirectory,
          editor: store.editor,
          journal,
          clock,
        });
  return {
    openServerFilter: open(server, "filter"),
    openClientFilter: open(client, "client-filter"),
    openRoutingFilter: open(client, "routing-filter"),
  };
}
