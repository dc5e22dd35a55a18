import { useNavigate, useSearch } from "@tanstack/react-router";
import { Suspense, useMemo } from "react";
import { $api, type Schemas } from "../api/client";
import { usePages } from "../api/pages";
import { count, duration, metricName, number, percent, points, value } from "../lib/format";
import type { Filters } from "../router";
import { Choice, Sign } from "../ui/basics";
import { LazyChart, Room, toMarks } from "../ui/metric-chart";
import { Head, HeadSkeleton, Panel } from "../ui/shell";
import { Empty, Failed, Skeleton } from "../ui/states";
import { More, Table } from "../ui/table";

type Trends = Schemas["Trends"];
type Window = Trends["window"];

const WINDOWS = [["24h", "24 h"], ["7d", "7 d"], ["30d", "30 d"], ["90d", "90 d"]] as const;
const SPAN: Record<string, string> = { "24h": "24 hours", "7d": "7 days", "30d": "30 days", "90d": "90 days" };
/** Metrics of which less is better; volume and tokens are neither. */
const LESS = /error|latency|cost/;
const NEUTRAL = /volume|tokens|runs/;

type Metric = Trends["metrics"][number];

function direction(metric: Metric): "better" | "worse" | "same" | "neutral" {
  if (metric.change === null || metric.mean === null || Math.abs(metric.change) < 1e-9) return "same";
  if (NEUTRAL.test(metric.name)) return "neutral";
  return metric.change > 0 === LESS.test(metric.name) ? "worse" : "better";
}

function Card({ metric, marks }: { metric: Metric; marks: Trends["marks"] }) {
  const drawn = useMemo(() => ({
    times: metric.points.map((point) => Date.parse(point.at)),
    lines: [{ name: metricName(metric.name), values: metric.points.map((each) => each.value), tone: "accent" as const }],
  }), [metric]);
  const shown = useMemo(() => toMarks(marks), [marks]);
  const moved = direction(metric);
  const change = difference(metric);
  const word = { better: "better than before", worse: "worse than before", same: "as before", neutral: "against before" }[moved];
  return (
    <section className="panel min-w-0 p-4" aria-label={metricName(metric.name)}>
      <div className="mb-2 flex flex-wrap items-baseline justify-between gap-x-4">
        <h2 className="text-base">{metricName(metric.name)}</h2>
        <p className="text-sm">
          <b className="text-lg font-semibold">{value(metric.mean, metric.unit)}</b>
          {change && (
            <span className="ms-2 inline-flex items-center gap-1 text-xs text-muted">
              {(moved === "better" || moved === "worse") && <Sign tone={moved === "worse" ? "warn" : "ok"} size={12} />}{change} {word}
            </span>
          )}
        </p>
      </div>
      {metric.points.length < 2 ? <p className="grid h-[9.6rem] place-items-center text-sm text-muted">Too little was measured in this time.</p> : (
        <Suspense fallback={<Room height={136} />}>
          <LazyChart {...drawn} marks={shown} unit={metric.unit} height={136} sync="trends" label={`${metricName(metric.name)}: mean ${value(metric.mean, metric.unit)}, before ${value(metric.previous_mean, metric.unit)}; ${count(metric.points.length, "point")}.`} />
        </Suspense>
      )}
    </section>
  );
}

function Days({ app }: { app: string }) {
  const query = usePages("/api/v1/evaluations", { app }, 14);
  const rows = query.items;
  return (
    <Panel title="Day by day" flush>
      {query.isError && !rows ? <Failed error={query.error} /> : !rows ? <Skeleton lines={8} /> : rows.length === 0 ? <Empty title="No day was scored yet">The first one is scored after midnight in the app's time zone.</Empty> : (
        <>
          <Table
            caption="Daily evaluations" rows={rows} id={(row) => row.id}
            columns={[
              { head: "Day", lead: true, cell: (row) => <><b className="font-medium whitespace-nowrap">{row.day}</b><div className="text-xs text-muted">{row.summary}</div></> },
              { head: "Quality", num: true, cell: (row) => number(row.quality_score, 3) },
              { head: "Facts", num: true, cell: (row) => percent(row.fact_accuracy) },
              { head: "Guardrail", num: true, cell: (row) => percent(row.guardrail_pass_rate) },
              { head: "SLA", num: true, cell: (row) => percent(row.sla_compliance) },
              { head: "Errors", num: true, cell: (row) => percent(row.error_rate) },
              { head: "p95", num: true, cell: (row) => duration(row.latency_p95_s) },
              { head: "Cost", num: true, cell: (row) => value(row.cost, "USD") },
              { head: "Runs", num: true, cell: (row) => number(row.runs, 0) },
            ]}
          />
          <More query={query} />
        </>
      )}
    </Panel>
  );
}

export function TrendsPage() {
  const { range = "7d", app: asked } = useSearch({ strict: false }) as Filters;
  const navigate = useNavigate();
  const overview = $api.useQuery("get", "/api/v1/overview", {}, { staleTime: 5_000 });
  const names = overview.data?.apps.map((each) => each.name) ?? [];
  const app = asked ?? names[0];
  const query = $api.useQuery("get", "/api/v1/evaluations/trends", { params: { query: { app: app ?? "", window: range as Window } } }, { enabled: !!app, placeholderData: (before: Trends | undefined) => before });
  const data = query.data;
  const go = (next: Filters) => void navigate({ to: "/evaluations", search: { range, app, ...next } as never });
  const worse = data?.metrics.filter((metric) => direction(metric) === "worse" && material(metric)) ?? [];
  const none = overview.data && names.length === 0;
  return (
    <>
      {!data && !query.isError && !none ? <HeadSkeleton /> : (
        <Head
          title={!data ? "Trends" : worse.length ? `${worse.length > 3 ? `${worse.length} of ${data.metrics.length} metrics` : worse.map((metric) => metricName(metric.name)).join(", ")} ${worse.length === 1 ? "is" : "are"} worse than the ${SPAN[range]} before` : `Nothing is worse than the ${SPAN[range]} before`}
          {...(data ? { tone: worse.length ? "warn" as const : "ok" as const } : {})}
          actions={
            <>
              {names.length > 1 && <select aria-label="App" className="field" value={app} onChange={(event) => go({ app: event.target.value })}>{names.map((name) => <option key={name}>{name}</option>)}</select>}
              <Choice label="Window" options={WINDOWS} value={range as "7d"} onChange={(next) => go({ range: next })} />
            </>
          }
        >
          {app && `${app}: the last ${SPAN[range]} against the ${SPAN[range]} before them`}
        </Head>
      )}
      {none ? <div className="panel"><Empty title="No app is watched yet" /></div>
        : query.isError && !data ? <div className="panel"><Failed error={query.error} retry={() => void query.refetch()} /></div>
          : !data ? <div className="grid gap-4 md:grid-cols-2">{[0, 1, 2, 3].map((each) => <div key={each} className="panel h-52"><Skeleton /></div>)}</div>
            : <div className="mb-4 grid gap-4 md:grid-cols-2">{data.metrics.map((metric) => <Card key={metric.name} metric={metric} marks={data.marks} />)}</div>}
      {app && (data || query.isError) && <Days app={app} />}
    </>
  );
}

const isShare = (metric: Metric) => metric.unit === "fraction" || metric.unit === "score";

/** A share moves by points, anything else by percent of what it was: `change` is relative. */
function difference(metric: Metric): string | null {
  if (metric.change === null) return null;
  if (!isShare(metric)) return `${number(metric.change * 100, 1, true)} %`;
  return metric.mean === null || metric.previous_mean === null ? null : points(metric.mean - metric.previous_mean);
}

/** Whether a change is large enough to name: half a point, or a twentieth of what it was. */
function material(metric: Metric): boolean {
  if (metric.change === null || metric.mean === null || metric.previous_mean === null) return false;
  return isShare(metric) ? Math.abs(metric.mean - metric.previous_mean) >= 0.005 : Math.abs(metric.change) >= 0.05;
}
