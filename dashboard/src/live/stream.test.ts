import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Environment, listen, type Told, touched } from "./stream";

class Source extends EventTarget {
  readyState = 1;
  close() {
    this.readyState = 2;
  }
  say(type: string, data = "{}") {
    this.dispatchEvent(Object.assign(new Event(type), { data }));
  }
}

/** All tabs of one browser: one lock, one channel. */
class Browser {
  sources: Source[] = [];
  private held: Promise<unknown> | null = null;
  private ports: { onmessage: ((event: MessageEvent<Told>) => void) | null }[] = [];

  environment(locks = true): Environment {
    return {
      now: () => 1000,
      open: () => {
        const source = new Source();
        this.sources.push(source);
        return source as unknown as EventSource;
      },
      channel: () => {
        const port = {
          onmessage: null as ((event: MessageEvent<Told>) => void) | null,
          postMessage: (told: Told) => this.ports.filter((each) => each !== port).forEach((each) => each.onmessage?.({ data: told } as MessageEvent<Told>)),
          close: () => {
            this.ports = this.ports.filter((each) => each !== port);
          },
        };
        this.ports.push(port);
        return port as unknown as BroadcastChannel;
      },
      locks: locks ? ({ request: (_: string, __: unknown, work: () => Promise<unknown>) => (this.held = (this.held ?? Promise.resolve()).then(work)) } as unknown as LockManager) : undefined,
    };
  }
}

describe("the live stream", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  const settle = () => vi.advanceTimersByTimeAsync(0);

  it("is opened once for all tabs, and told to all of them", async () => {
    const browser = new Browser();
    const heard: Told[][] = [[], [], []];
    const stops = heard.map((list) => listen((told) => list.push(told), browser.environment()));
    await settle();
    expect(browser.sources).toHaveLength(1);
    browser.sources[0]!.say("tick");
    browser.sources[0]!.say("change", '{"subject":"alert","id":7}');
    for (const list of heard) expect(list.at(-1)).toEqual({ tick: 1000, change: { subject: "alert", id: 7 } });
    stops.forEach((stop) => stop());
  });

  it("goes on in another tab when the one that reads is closed", async () => {
    const browser = new Browser();
    const stop = listen(() => undefined, browser.environment());
    const heard: Told[] = [];
    const other = listen((told) => heard.push(told), browser.environment());
    await settle();
    stop();
    await vi.advanceTimersByTimeAsync(3000);
    expect(browser.sources).toHaveLength(2);
    browser.sources[1]!.say("tick");
    expect(heard).toEqual([{ tick: 1000 }]);
    other();
  });

  it("is opened again after the server refused it", async () => {
    const browser = new Browser();
    const stop = listen(() => undefined, browser.environment());
    await settle();
    browser.sources[0]!.readyState = 2;
    await vi.advanceTimersByTimeAsync(4000);
    expect(browser.sources).toHaveLength(2);
    stop();
  });

  it("is read by each tab where a browser has no locks", async () => {
    const browser = new Browser();
    const stops = [0, 1].map(() => listen(() => undefined, browser.environment(false)));
    await settle();
    expect(browser.sources).toHaveLength(2);
    stops.forEach((stop) => stop());
  });

  it("swallows what is no JSON", async () => {
    const browser = new Browser();
    const heard: Told[] = [];
    const stop = listen((told) => heard.push(told), browser.environment());
    await settle();
    browser.sources[0]!.say("change", "<html>");
    expect(heard).toEqual([]);
    stop();
  });

  it("knows what each change makes out of date", () => {
    expect(touched("proposal")).toContain("/api/v1/proposals");
    expect(touched("something new")).toEqual([]);
  });
});
