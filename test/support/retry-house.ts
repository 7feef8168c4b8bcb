/** A house whose mail is tried again: stations with a clock that only the test moves. */
import type { RetryConfig } from "../../src/core/config.ts";
import type { Report } from "../../src/core/report.ts";
import type { Receipt, Trouble } from "../../src/core/transport.ts";
import { Agenda } from "../../src/relay/agenda.ts";
import type { Stations } from "../../src/relay/journey.ts";
import { Retrying } from "../../src/relay/retrying.ts";
import { ScriptedTransport } from "./scripted-transport.ts";
import { stations } from "./stations.ts";

export const MINUTE = 60_000;
export const DAY = 86_400_000;
export const retry: RetryConfig = { delaysMs: [MINUTE, 10 * MINUTE], expireMs: 5 * DAY };

/** Stations with a clock that only the test moves, which begins when the store's messages come (second 1). */
export function house(changes: Partial<Stations> = {}) {
  const made = stations();
  let ms = 2000;
  const clock = {
    now: () => ms,
    monotonic: () => ms,
    sleep: async () => await Promise.reject(new Error("nobody waits here")),
  };
  const agenda = new Agenda({ retry, monotonic: clock.monotonic, random: () => 0.5 });
  const { journal } = made.at;
  const reports: Report[] = [];
  const at: Stations = {
    ...made.at,
    recipients: "some",
    clock,
    retrying: new Retrying({ retry, agenda, journal, now: clock.now }),
    reporter: {
      report: async (report) => {
        reports.push(report);
        return true;
      },
    },
    ...changes,
  };
  const pass = (time: number) => {
    ms += time;
  };
  /** Why mail of this account waits for the usual smarthost; null when it does not. */
  const pauseOf = (account: string) =>
    at.retrying?.pauseOf([{ address: "smarthost.test:25", account }]) ?? null;
  const kinds = () => made.events.map(({ kind }) => kind);
  return { ...made, at, agenda, pass, pauseOf, kinds, reports };
}

export const temporary = { code: 451, text: "4.3.2 come back" };
export const permanent = { code: 550, text: "5.1.1 nobody" };

export function refuses(reply: typeof temporary, ended = false): Receipt {
  return { kind: "refused", step: "content", reply, rejected: [], ended };
}

export function lost(unknown: boolean): Receipt {
  const trouble: Trouble = {
    kind: "connection",
    connected: true,
    why: "peer disconnected",
    reply: null,
  };
  return { kind: "lost", trouble, unknown };
}

export const always = (receipt: Receipt) => new ScriptedTransport(() => receipt);
