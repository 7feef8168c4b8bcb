/** Where mail goes and when, as configured: the part of the journey's stations that forwarding needs. */
import type { Clock } from "../core/clock.ts";
import type { ForwardConfig } from "../core/config.ts";
import type { Journal } from "../core/events.ts";
import { Agenda } from "../relay/agenda.ts";
import type { Stations } from "../relay/journey.ts";
import { Linger } from "../relay/linger.ts";
import { Pace } from "../relay/pace.ts";
import { Retrying } from "../relay/retrying.ts";
import { Stragglers } from "../relay/stragglers.ts";
import { Survey } from "../relay/survey.ts";

type Smarthosts = ReturnType<Stations["route"]>;

type WaysOut = Pick<
  Stations,
  "route" | "recipients" | "retrying" | "parallel" | "pace" | "survey" | "stragglers" | "linger"
>;

export interface WaysOutOptions {
  readonly journal: Journal;
  readonly clock: Clock;
  /** Called when something is to be tried again in so many milliseconds. */
  readonly onPlanned: (ms: number) => void;
}

/** `forward`: null where nothing is ever forwarded. */
export function waysOut(
  forward: ForwardConfig | null,
  { journal, clock, onPlanned }: WaysOutOptions,
): WaysOut {
  const first = forward?.to ?? "";
  const others = forward?.fallbacks ?? [];
  const usual = (account: string): Smarthosts => [
    { address: first, account },
    ...others.map((address) => ({ address, account })),
  ];
  // Nearly all mail goes there.
  const mostly = usual("");
  return {
    route: ({ forwardToAddress, clientAccountSelector: account }) => {
      if (forwardToAddress !== "") return [{ address: forwardToAddress, account }];
      return account === "" ? mostly : usual(account);
    },
    recipients: forward?.recipients ?? "all",
    retrying: retryingOf(forward, { journal, clock, onPlanned }),
    parallel: forward?.parallel ?? 1,
    pace: new Pace(forward?.rate ?? null, clock),
    survey: new Survey(clock),
    stragglers: new Stragglers(),
    linger: new Linger(clock),
  };
}

function retryingOf(
  forward: ForwardConfig | null,
  { journal, clock, onPlanned }: WaysOutOptions,
): Retrying | null {
  const retry = forward?.retry ?? null;
  if (retry === null) return null;
  const monotonic = () => clock.monotonic();
  const agenda = new Agenda({ retry, monotonic, random: Math.random, onPlanned });
  return new Retrying({ retry, agenda, journal, now: () => clock.now() });
}
