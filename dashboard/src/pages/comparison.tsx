/** Baseline against candidate: intervals as bars, and the cases that got worse with both answers. */
import { useState } from "react";
import type { Schemas } from "../api/client";
import { chance, cut, duration, metricName, number, percent, points } from "../lib/format";
import { around, reading } from "../lib/scale";
import { inline } from "../lib/diff";
import { Button, Sign, TraceLink } from "../ui/basics";
import { IntervalBar } from "../ui/interval";
import { Table } from "../ui/table";

interface Compared {
  metric: string; cases: number; missing?: number; delta: number; interval: [number | null, number | null]; baseline: number; candidate: number;
  margin?: number; p_worse?: number; p_better?: number; p_noninferior?: number; lower_is_better?: boolean; binary?: boolean;
}

const ORDER = ["error_free", "sla_met", "fact_accuracy", "guardrail_pass"];

export function compared(comparison: Schemas["ValidationDetail"]["comparison"]): Compared[] {
  const rank = (metric: string) => (ORDER.includes(metric) ? ORDER.indexOf(metric) : ORDER.length);
  return Object.entries(comparison)
    .map(([metric, each]) => ({ metric, ...(each as unknown as Omit<Compared, "metric">) }))
    .toSorted((a, b) => rank(a.metric) - rank(b.metric) || a.metric.localeCompare(b.metric));
}

const WORD = { better: ["ok", "better"], worse: ["bad", "worse"], unclear: ["quiet", "no difference"] } as const;

export function Comparison({ comparison }: { comparison: Schemas["ValidationDetail"]["comparison"] }) {
  const rows = compared(comparison);
  const fractions = around(rows.filter((row) => !row.lower_is_better).flatMap((row) => [...row.interval, row.margin ? -row.margin : 0]));
  return (
    <Table
      caption="Candidate against baseline" rows={rows} id={(row) => row.metric}
      columns={[
        { head: "Metric", lead: true, cell: (row) => {
          const [tone, word] = WORD[reading(row.interval[0], row.interval[1], row.lower_is_better)];
          return (
            <>
              <b className="font-medium">{metricName(row.metric)}</b>
              <div className="flex items-center gap-1 whitespace-nowrap text-xs text-muted"><Sign tone={tone} size={12} />{word}</div>
            </>
          );
        } },
        { head: "Baseline", num: true, cell: (row) => (row.lower_is_better ? duration(row.baseline / 1000) : percent(row.baseline)) },
        { head: "Candidate", num: true, cell: (row) => <b className="font-medium">{row.lower_is_better ? duration(row.candidate / 1000) : percent(row.candidate)}</b> },
        { head: "Difference, 95 %", num: true, cell: (row) => (
          row.lower_is_better
            ? <>{number(row.delta, 0, true)} ms <span className="text-xs text-muted">[{number(row.interval[0], 0, true)}, {number(row.interval[1], 0, true)}]</span></>
            : <>{points(row.delta)} <span className="text-xs text-muted">[{number((row.interval[0] ?? NaN) * 100, 1, true)}, {number((row.interval[1] ?? NaN) * 100, 1, true)}]</span></>
        ) },
        { head: <span className="sr-only">Interval</span>, label: "Interval", className: "w-44 max-sm:*:max-w-40", cell: (row) => (
          <IntervalBar
            low={row.interval[0]} high={row.interval[1]} value={row.delta}
            scale={row.lower_is_better ? around([...row.interval, row.margin]) : fractions}
            {...(row.margin ? { margin: row.lower_is_better ? row.margin : -row.margin } : {})}
            says={reading(row.interval[0], row.interval[1], row.lower_is_better)}
            label={`${metricName(row.metric)}: ${WORD[reading(row.interval[0], row.interval[1], row.lower_is_better)][1]}`}
          />
        ) },
        { head: "p worse", num: true, cell: (row) => chance(row.p_worse) },
        { head: "Cases", num: true, cell: (row) => number(row.cases, 0) },
      ]}
    />
  );
}

function answer(output: string | undefined, error: string | null | undefined): string {
  if (error) return error;
  if (!output) return "(no answer)";
  try {
    const parsed = JSON.parse(output) as { text?: unknown };
    if (typeof parsed.text === "string") return parsed.text;
  } catch {
    // what was cut off is no JSON any more; plain text is an answer too
    const text = /^\{"text": ?("(?:[^"\\]|\\.)*")/.exec(output)?.[1];
    if (text) return JSON.parse(text) as string;
  }
  return output;
}

const runLink = (id: string) => (/^https?:/.test(id) ? id : `/api/v1/runs/${id}`);

function Answer({ name, output, error, run, pieces }: { name: string; output: string; error: string | null | undefined; run: string | null | undefined; pieces: ReturnType<typeof inline>[0] | null }) {
  return (
    <div className="min-w-0 bg-surface p-3">
      <p className="mb-1 flex items-center justify-between text-xs text-muted">{name}{run && <TraceLink url={runLink(run)}>trace</TraceLink>}</p>
      <p className={`text-sm break-words whitespace-pre-wrap ${error ? "font-mono text-xs text-bad" : ""}`}>
        {pieces ? pieces.map((piece, index) => (piece.changed ? <mark key={index} className="rounded-xs bg-warn-soft text-text">{piece.text}</mark> : piece.text)) : cut(output, 4000)}
      </p>
    </div>
  );
}

/** Cases whose score fell, both answers side by side, what differs marked. */
export function Regressed({ cases, first = 5 }: { cases: Schemas["Regressed"][]; first?: number }) {
  const [shown, setShown] = useState(first);
  if (!cases.length) return null;
  return (
    <div>
      <ul className="space-y-3">
        {cases.slice(0, shown).map((each) => {
          const before = answer(each.baseline_output, each.baseline_error);
          const after = answer(each.candidate_output, each.candidate_error);
          const same = before === after;
          const [left, right] = !same && !each.baseline_error && !each.candidate_error && before.length + after.length < 3000 ? inline(before, after) : [null, null];
          const scale = (x: number) => (each.metric === "latency_ms" ? `${number(x, 0)} ms` : number(x, 2));
          return (
            <li key={each.key + each.metric} className="overflow-hidden rounded-md border border-line">
              <p className="flex flex-wrap items-center justify-between gap-x-3 border-b border-line bg-sunken px-3 py-1.5 text-xs">
                <code className="break-all">{each.key}</code>
                <span className="text-muted">{metricName(each.metric)} <b className="text-text">{scale(each.baseline)} → {scale(each.candidate)}</b>{same && " · the answer is the same"}</span>
              </p>
              <div className="grid gap-px bg-line sm:grid-cols-2">
                <Answer name="Baseline" output={before} error={each.baseline_error} run={each.baseline_run_id} pieces={left} />
                <Answer name="Candidate" output={after} error={each.candidate_error} run={each.candidate_run_id} pieces={right} />
              </div>
            </li>
          );
        })}
      </ul>
      {shown < cases.length && <Button look="quiet" className="mt-2" onClick={() => setShown(shown + 20)}>Show more ({cases.length - shown})</Button>}
    </div>
  );
}
