/**
 * One stream of changes for all tabs of a browser. HTTP/1.1 allows six connections to a host, so the seventh tab of
 * tabs with a stream each would stall: the tab that holds the lock reads, and tells the others by a channel.
 */

export interface Change {
  subject: string;
  id: number | string;
}

export interface Told {
  tick?: number;
  change?: Change;
}

/** A stream without a tick for so long is stale, ms. */
export const STALE_AFTER = 5_000;

export interface Environment {
  open: (url: string) => EventSource;
  channel: (name: string) => BroadcastChannel | null;
  locks: LockManager | undefined;
  now: () => number;
}

const browser: Environment = {
  open: (url) => new EventSource(url),
  channel: (name) => (typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel(name)),
  locks: typeof navigator === "undefined" ? undefined : navigator.locks,
  now: () => Date.now(),
};

/** Listen until the returned function is called. Whoever holds the lock `metamon-events` reads for all. */
export function listen(tell: (told: Told) => void, env: Environment = browser): () => void {
  const ended = new AbortController();
  const channel = env.channel("metamon-events");
  if (channel) channel.onmessage = (event: MessageEvent<Told>) => tell(event.data);
  const share = (told: Told) => {
    tell(told);
    channel?.postMessage(told);
  };
  const read = () =>
    new Promise<void>((done) => {
      const source = env.open("/api/v1/events");
      source.addEventListener("tick", () => share({ tick: env.now() }));
      source.addEventListener("change", (event) => {
        try {
          share({ tick: env.now(), change: JSON.parse((event as MessageEvent<string>).data) as Change });
        } catch {
          // what is no JSON tells nothing
        }
      });
      // A stream that the server refused (401, 503) is closed for good: it is opened again after a while.
      const watch = setInterval(() => {
        if (source.readyState === 2) {
          clearInterval(watch);
          done();
        }
      }, 1_000);
      ended.signal.addEventListener("abort", () => {
        clearInterval(watch);
        source.close();
        done();
      });
    });
  const keepReading = async () => {
    while (!ended.signal.aborted) {
      await read();
      if (!ended.signal.aborted) await new Promise((wake) => setTimeout(wake, 2_000));
    }
  };
  if (env.locks && channel) {
    void env.locks
      .request("metamon-events", { signal: ended.signal }, keepReading)
      .catch(() => undefined); // aborted while it waited
  } else {
    // Plain http on another host has no locks: each tab reads for itself.
    void keepReading();
  }
  return () => {
    ended.abort();
    channel?.close();
  };
}

/** Which requests a change makes out of date, by the start of their path. */
export function touched(subject: string): string[] {
  const at = (...names: string[]) => names.map((name) => `/api/v1/${name}`);
  switch (subject) {
    case "alert":
      return at("overview", "alerts");
    case "proposal":
      return at("overview", "proposals", "alerts");
    case "validation":
      return at("validations", "proposals");
    case "rollout":
      return at("overview", "rollouts", "proposals");
    case "evaluation":
      return at("evaluations");
    case "impact":
      return at("impact", "proposals", "overview");
    case "job":
      return at("jobs");
    case "mail":
      return at("mail", "overview");
    case "app":
      return at("apps", "overview", "metrics");
    default:
      return [];
  }
}
