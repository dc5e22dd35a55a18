import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { $api, type Schemas } from "../api/client";
import { count, metricName, span, value as written } from "../lib/format";
import { useNow } from "../live/live";
import { Ago, Choice, Sign, State, type Tone } from "../ui/basics";
import { IconAlerts, IconJobs, IconMail, IconProposals, IconRight } from "../ui/icons";
import { MetricChart } from "../ui/metric-chart";
import { Head, HeadSkeleton, Panel } from "../ui/shell";
import { Empty, Failed, Skeleton } from "../ui/states";
import { RolloutRow } from "./rollout-parts";

type Overview = Schemas["Overview"];

const TONE: Record<Overview["verdict"]["level"], Tone> = { ok: "ok", degraded: "warn", critical: "bad", unknown: "quiet" };
export const RANGES = [["30m", "30 min"], ["3h", "3 h"], ["24h", "24 h"], ["7d", "7 d"]] as const;
const SECONDS: Record<string, number> = { "30m": 1800, "3h": 10_800, "24h": 86_400, "7d": 604_800 };

/** The start of a range, in steps, so that one address asks for the same thing for a while. */
export function useSince(range: string): string {
  const now = useNow(15_000);
  const step = Math.max(10, (SECONDS[range] ?? 10_800) / 360) * 1000;
  return new Date(Math.floor(now / step) * step - (SECONDS[range] ?? 10_800) * 1000).toISOString();
}

const WANTS = {
  approval: [IconProposals, "Decide", "/proposals/$id"],
  alert: [IconAlerts, "Look at", "/alerts/$id"],
  mail: [IconMail, "Mail", "/mail/$id"],
  job: [IconJobs, "Job", "/jobs/$id"],
} as const;

function NeedsYou({ items }: { items: Overview["needs_you"] }) {
  return (
    <Panel title="Needs you" flush>
      {items.length === 0 ? (
        <p className="flex items-center gap-2 p-4 text-sm text-muted"><Sign tone="ok" />Nothing waits for a person.</p>
      ) : (
        <ul>
          {items.map((item) => {
            const [Icon, verb, to] = WANTS[item.kind];
            return (
              <li key={`${item.kind}${item.id}`} className="border-b border-line last:border-0">
                <Link
                  to={to} params={{ id: String(item.id) }} data-row=""
                  className="flex items-center gap-3 px-4 py-2.5 hover:bg-sunken focus-visible:-outline-offset-2"
                >
                  <Icon className="text-muted" />
                  <span className="min-w-0 flex-1">
                    <span className="block truncate text-sm font-medium">{item.title}</span>
                    <span className="text-xs text-muted">{verb}{item.app ? ` · ${item.app}` : ""} · <Ago at={item.since} /></span>
                  </span>
                  <IconRight className="text-faint" />
                </Link>
              </li>
            );
          })}
        </ul>
      )}
    </Panel>
  );
}

type App = Overview["apps"][number];

function outside(metric: App["metrics"][number]): boolean {
  return metric.value !== null && (
    (metric.expected_low !== null && metric.value < metric.expected_low) ||
    (metric.expected_high !== null && metric.value > metric.expected_high)
  );
}

function Metric({ app, metric, since }: { app: string; metric: App["metrics"][number]; since: string }) {
  const off = outside(metric);
  const band = metric.expected_low !== null && metric.expected_high !== null;
  return (
    <section className="min-w-0 border-line p-3 not-last:border-b md:border-b md:odd:border-e" aria-label={metricName(metric.name)}>
      <div className="mb-1 flex items-baseline justify-between gap-3 px-1">
        <h3 className="text-muted">{metricName(metric.name)}</h3>
        <p className="flex flex-wrap items-baseline justify-end gap-x-1.5 text-sm">
          {off && <span className="self-center"><Sign tone="bad" size={13} /><span className="sr-only">outside of what is expected</span></span>}
          <b className={`text-lg font-semibold whitespace-nowrap ${off ? "text-bad" : ""}`}>{written(metric.value, metric.unit)}</b>
          {band && (
            <span className="text-xs whitespace-nowrap text-faint">
              expected {span(metric.expected_low, metric.expected_high, metric.unit)}
            </span>
          )}
        </p>
      </div>
      <MetricChart app={app} metric={metric.name} since={since} height={104} sync={app} />
    </section>
  );
}

function AppPanel({ app, since }: { app: App; since: string }) {
  return (
    <Panel
      flush
      title={<>{app.name}</>}
      actions={<span className="text-xs text-muted">checked <Ago at={app.checked_at} /></span>}
    >
      {app.metrics.length === 0 ? (
        <Empty title="No runs yet">
          Point the app's LangSmith SDK at this server: <code>LANGSMITH_ENDPOINT={location.origin}</code>
        </Empty>
      ) : (
        <div className="grid md:grid-cols-2">
          {app.metrics.map((metric) => <Metric key={metric.name} app={app.name} metric={metric} since={since} />)}
        </div>
      )}
    </Panel>
  );
}

export function OverviewPage() {
  const query = $api.useQuery("get", "/api/v1/overview");
  const { range: asked } = useSearch({ strict: false }) as { range?: string };
  const navigate = useNavigate();
  const data = query.data;
  // What has just begun is looked at closely; the rest of the time the last hours are.
  const [young] = useState(() => Date.now() - 20 * 60_000);
  const recent = data?.open_alerts.some((alert) => Date.parse(alert.opened_at) > young) ?? false;
  const range = asked ?? (recent ? "30m" : "3h");
  const since = useSince(range);
  const apps = useMemo(() => data?.apps ?? [], [data]);
  if (!data) {
    if (query.isError) return <><Head title="The state is unknown" tone="quiet" /><Failed error={query.error} retry={() => void query.refetch()} /></>;
    return <><HeadSkeleton /><div className="panel"><Skeleton lines={12} /></div></>;
  }
  const { verdict } = data;
  // Each thing is said once: what waits for you is not listed again as open, nor as a reason.
  const named = new Set(data.needs_you.filter((item) => item.kind === "alert").map((item) => item.id));
  const others = data.open_alerts.filter((alert) => !named.has(alert.id));
  const reasons = verdict.reasons.filter((reason) => reason !== verdict.text && !data.open_alerts.some((alert) => reason.endsWith(alert.title)));
  return (
    <>
      <Head title={verdict.text} tone={TONE[verdict.level]}>
        {reasons.length > 0 && <ul className="mb-1">{reasons.slice(0, 5).map((reason) => <li key={reason}>{reason}</li>)}</ul>}
        <span>
          {data.open_alerts.length ? `${count(data.open_alerts.length, "alert")} open · ` : ""}{count(data.rollouts.length, "rollout")} on the way · checked <Ago at={data.checked_at} />
        </span>
      </Head>
      <div className="grid gap-4 lg:grid-cols-2">
        <NeedsYou items={data.needs_you} />
        <Panel title="Rollouts" flush actions={<Link to="/rollouts" className="link text-xs">all</Link>}>
          {data.rollouts.length === 0 ? (
            <p className="p-4 text-sm text-muted">No change is on its way.</p>
          ) : (
            <ul>{data.rollouts.map((rollout) => <RolloutRow key={rollout.id} rollout={rollout} />)}</ul>
          )}
        </Panel>
      </div>
      {others.length > 0 && (
        <Panel title={named.size ? "Also open" : count(others.length, "open alert")} flush actions={<Link to="/alerts" className="link text-xs">all</Link>}>
          <ul>
            {others.map((alert) => (
              <li key={alert.id} className="border-b border-line last:border-0">
                <Link to="/alerts/$id" params={{ id: String(alert.id) }} data-row="" className="flex flex-wrap items-center gap-x-3 gap-y-1 px-4 py-2.5 hover:bg-sunken focus-visible:-outline-offset-2">
                  <State of={alert.severity} />
                  <span className="min-w-0 flex-1 text-sm font-medium">{alert.title}</span>
                  <span className="text-xs text-muted">{alert.app} · <Ago at={alert.opened_at} /></span>
                </Link>
              </li>
            ))}
          </ul>
        </Panel>
      )}
      <div className="mt-6 mb-3 flex flex-wrap items-center justify-between gap-3">
        <h2>Live metrics</h2>
        <Choice label="Time shown" options={RANGES} value={range as "3h"} onChange={(next) => void navigate({ to: "/", search: { range: next } as never })} />
      </div>
      {apps.length === 0 && (
        <div className="panel">
          <Empty title="No app is watched yet"><code>metamon apps add my-app --sla-ms 3000 --notify you@example.com</code></Empty>
        </div>
      )}
      {apps.map((app) => <AppPanel key={app.name} app={app} since={since} />)}
      <p className="px-1 text-xs text-muted">The shaded band is what is expected at this hour. Marks: ▼ an alert or a rollback, ● an end, ◆ a rollout.</p>
    </>
  );
}
