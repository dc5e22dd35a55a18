/** What a rollout looks like in a list and on its page: stages, and how near the guard is to a decision. */
import { Link } from "@tanstack/react-router";
import type { Schemas } from "../api/client";
import { metricName, number, percent } from "../lib/format";
import { Ago, State } from "../ui/basics";
import { IconCheck } from "../ui/icons";

export interface Margin {
  metric: string;
  baseline: number | null;
  candidate: number | null;
  drop: number | null;
  units: [number, number];
  e_rollback: number;
  rollback_at: number;
  e_promote: number;
  promote_at: number;
}

/** The guard's evidence by metric; the check of the split stands apart. */
export function margins(guard: Record<string, unknown>): Margin[] {
  return Object.entries(guard)
    .filter(([name, each]) => name !== "ratio" && each && typeof each === "object" && "e_rollback" in each)
    .map(([metric, each]) => ({ metric, ...(each as Omit<Margin, "metric">) }));
}

export function ratioOf(guard: Record<string, unknown>): { e_value: number; pause_at: number } | null {
  const ratio = guard.ratio as { e_value?: number; pause_at?: number } | undefined;
  return ratio && typeof ratio.e_value === "number" ? { e_value: ratio.e_value, pause_at: ratio.pause_at ?? 1000 } : null;
}

/** How much of the evidence that a decision takes is there, in logarithms: 0 to 1. */
export function share(e: number, needed: number): number {
  if (!(e > 1) || !(needed > 1)) return 0;
  return Math.min(1, Math.log(e) / Math.log(needed));
}

const STAGES = [10, 50, 100];

/** 10 → 50 → 100 %, done, present and to come. */
export function Stages({ percent: now, state, holdback, wide = false }: { percent: number; state: string; holdback: number; wide?: boolean }) {
  const back = state === "rolled_back";
  return (
    <ol className={`flex items-center gap-1 text-xs ${wide ? "w-full" : ""}`} aria-label={back ? "rolled back" : `at ${now} % of 10, 50, 100`}>
      {STAGES.map((stage) => {
        const done = !back && (now > stage || state === "completed");
        const here = !back && now === stage && state !== "completed";
        return (
          <li key={stage} className={`flex items-center gap-1 ${wide ? "flex-1" : ""}`}>
            <span
              className={`inline-flex items-center justify-center gap-0.5 rounded-sm px-1.5 py-0.5 font-medium whitespace-nowrap ${wide ? "w-full py-1.5" : ""} ${
                here ? "bg-accent text-on-accent" : done ? "bg-ok-soft text-ok" : "bg-sunken text-muted"
              } ${back ? "line-through" : ""}`}
            >
              {done && <IconCheck width={11} height={11} />}
              {stage} %{wide && stage === 100 && holdback > 0 && state !== "completed" ? ` − ${holdback} % held back` : ""}
            </span>
          </li>
        );
      })}
    </ol>
  );
}

/** An e-value that is not there yet. */
export const small = (e: number): string => (e < 0.1 ? "< 0.1" : number(e, e < 10 ? 1 : 0));

function Gauge({ e, at, tone, label }: { e: number; at: number; tone: "bad" | "ok"; label: string }) {
  const part = share(e, at);
  return (
    <div className="flex items-center gap-2" title={`e-value ${number(e, 2)} of ${number(at, 0)}`}>
      <span className="w-20 shrink-0 text-xs text-muted">{label}</span>
      <svg role="meter" aria-label={`${label}: evidence ${number(e, 2)} of ${number(at, 0)}`} aria-valuenow={Math.round(part * 100)} aria-valuemin={0} aria-valuemax={100} className="h-1.5 min-w-12 flex-1">
        <rect width="100%" height="6" rx="3" className="fill-sunken" />
        <rect width={`${part * 100}%`} height="6" rx="3" className={tone === "bad" ? "fill-bad" : "fill-ok"} />
      </svg>
      <span className="w-24 shrink-0 text-end text-xs whitespace-nowrap text-muted">{e >= at ? `reached ${number(at, 0)}` : `${small(e)} of ${number(at, 0)}`}</span>
    </div>
  );
}

export function MarginCard({ margin }: { margin: Margin }) {
  return (
    <div className="min-w-0 border-b border-line py-3 last:border-0">
      <div className="mb-1.5 flex flex-wrap items-baseline justify-between gap-x-3">
        <h3>{metricName(margin.metric)}</h3>
        <p className="text-xs text-muted">
          {percent(margin.baseline)} baseline · <b className="text-text">{percent(margin.candidate)}</b> candidate · {number(margin.units[0], 0)} / {number(margin.units[1], 0)} units
        </p>
      </div>
      <Gauge e={margin.e_rollback} at={margin.rollback_at} tone="bad" label="To roll back" />
      <Gauge e={margin.e_promote} at={margin.promote_at} tone="ok" label="To promote" />
    </div>
  );
}

/** The metric that is nearest to a rollback, and the one that a promotion still waits for. */
export function nearest(guard: Record<string, unknown>): { danger: Margin | null; waits: Margin | null } {
  const all = margins(guard);
  const by = (of: (margin: Margin) => number) => all.toSorted((a, b) => of(a) - of(b))[0] ?? null;
  return {
    danger: by((each) => -share(each.e_rollback, each.rollback_at)),
    waits: by((each) => share(each.e_promote, each.promote_at)),
  };
}

export function RolloutRow({ rollout }: { rollout: Schemas["RolloutRecord"] }) {
  const { danger, waits } = nearest(rollout.guard);
  return (
    <li className="border-b border-line last:border-0">
      <Link to="/rollouts/$id" params={{ id: String(rollout.id) }} data-row="" className="block px-4 py-2.5 hover:bg-sunken focus-visible:-outline-offset-2">
        <span className="mb-1 flex flex-wrap items-center justify-between gap-x-3 gap-y-1">
          <span className="min-w-0 text-sm font-medium">{rollout.title}</span>
          {rollout.state === "running" || rollout.state === "holdback" ? null : <State of={rollout.state} />}
        </span>
        <span className="flex flex-wrap items-center justify-between gap-x-3 gap-y-1 text-xs text-muted">
          <Stages percent={rollout.percent} state={rollout.state} holdback={rollout.holdback_percent} />
          <span>stage began <Ago at={rollout.stage_started_at} /></span>
        </span>
        {danger && waits && (
          <span className="mt-1 block text-xs text-muted">
            Rollback {Math.round(share(danger.e_rollback, danger.rollback_at) * 100)} % of the evidence ({metricName(danger.metric)}) · next stage{" "}
            {Math.round(share(waits.e_promote, waits.promote_at) * 100)} % ({metricName(waits.metric)})
          </span>
        )}
      </Link>
    </li>
  );
}
