/** Keeps what is on the page up to date, and says when it cannot. */
import { useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useRef, useState } from "react";
import { listen, STALE_AFTER, touched } from "./stream";

export interface Liveness {
  state: "connecting" | "live" | "stale";
  /** Seconds since the last tick, where stale. */
  silent: number;
}

const Context = createContext<Liveness>({ state: "connecting", silent: 0 });
export const useLive = () => useContext(Context);

/** Changes come in bursts: what they touch is asked for again at most this often, ms. */
const GATHER = 700;
const POLL = 5_000;

export function Live({ children }: { children: ReactNode }) {
  const client = useQueryClient();
  const [liveness, setLiveness] = useState<Liveness>({ state: "connecting", silent: 0 });
  const last = useRef(0);

  useEffect(() => {
    const started = Date.now();
    let paths = new Set<string>();
    let timer: ReturnType<typeof setTimeout> | undefined;
    let polled = started;
    let wasStale = false;
    const refresh = (match: (path: string) => boolean) =>
      void client.invalidateQueries({
        predicate: ({ queryKey }) => typeof queryKey[1] === "string" && match(queryKey[1]),
      });
    const gather = () => {
      const now = paths;
      paths = new Set();
      timer = undefined;
      refresh((path) => [...now].some((start) => path.startsWith(start)));
    };
    const stop = listen(({ tick, change }) => {
      if (tick) last.current = tick;
      if (change) {
        touched(change.subject).forEach((path) => paths.add(path));
        timer ??= setTimeout(gather, GATHER);
      }
    });
    const clock = setInterval(() => {
      const now = Date.now();
      const silent = now - (last.current || started);
      const stale = silent > STALE_AFTER;
      if (stale && now - polled >= POLL && !document.hidden) {
        polled = now;
        refresh(() => true);
      }
      if (wasStale && !stale) refresh(() => true); // what changed while nobody listened
      wasStale = stale;
      setLiveness((before) => {
        const state = stale ? "stale" : last.current ? "live" : "connecting";
        const seconds = stale ? Math.floor(silent / 1000) : 0;
        return before.state === state && before.silent === seconds ? before : { state, silent: seconds };
      });
    }, 1_000);
    return () => {
      stop();
      clearInterval(clock);
      clearTimeout(timer);
    };
  }, [client]);

  return <Context value={liveness}>{children}</Context>;
}

/** The time, renewed every so often: what "2 min ago" counts from. */
export function useNow(every = 10_000): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}
