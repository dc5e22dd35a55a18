import { useNavigate, useSearch } from "@tanstack/react-router";
import { usePages } from "../api/pages";
import { count, metricName, span, value } from "../lib/format";
import type { Filters } from "../router";
import { Ago, Choice, State } from "../ui/basics";
import { Head, HeadSkeleton, Panel } from "../ui/shell";
import { Empty, Failed, Skeleton } from "../ui/states";
import { More, RowLink, Table } from "../ui/table";

const UNITS: Record<string, string> = { latency_p95: "s", volume: "runs", tokens: "tokens", cost: "USD", tokens_per_run: "tokens", cost_per_run: "USD" };
export const unitOf = (metric: string): string => UNITS[metric] ?? "fraction";

export function AlertsPage() {
  const { state = "open" } = useSearch({ strict: false }) as Filters;
  const navigate = useNavigate();
  const query = usePages("/api/v1/alerts", state === "open" ? { only_open: true } : state === "all" ? {} : { state });
  const rows = query.items;
  const critical = rows?.filter((row) => row.severity === "critical" && row.state !== "resolved").length ?? 0;
  const title =
    state !== "open" ? "Alerts" : !rows ? "" : rows.length === 0 ? "No alert is open"
      : `${count(rows.length, "alert")}${query.hasNextPage ? " and more" : ""} open${critical ? `, ${critical} critical` : ""}`;
  return (
    <>
      {!rows && !query.isError ? <HeadSkeleton /> : (
        <Head
          title={title || "Alerts"} {...(state === "open" && rows ? { tone: critical ? "bad" as const : rows.length ? "warn" as const : "ok" as const } : {})}
          actions={
            <Choice
              label="Which alerts" value={state} onChange={(next) => void navigate({ to: "/alerts", search: { state: next } as never })}
              options={[["open", "Open"], ["resolved", "Resolved"], ["all", "All"]]}
            />
          }
        />
      )}
      <Panel flush>
        {query.isError && !rows ? <Failed error={query.error} retry={() => void query.refetch()} /> : !rows ? <Skeleton lines={8} />
          : rows.length === 0 ? (
            <Empty title={state === "open" ? "All quiet" : "Nothing here yet"} good={state === "open"}>
              {state === "open" ? "Every metric is where it is expected." : "Alerts that end are kept here."}
            </Empty>
          ) : (
            <>
              <Table
                caption="Alerts" rows={rows} id={(row) => row.id}
                columns={[
                  { head: "Alert", lead: true, cell: (row) => (
                    <>
                      <RowLink to="/alerts/$id" params={{ id: String(row.id) }}>{row.title}</RowLink>
                      <div className="text-xs text-muted">{row.app} · {metricName(row.metric)}{row.flapping ? " · flapping" : ""}{row.silenced ? " · silenced" : ""}</div>
                    </>
                  ) },
                  { head: "Severity", cell: (row) => <State of={row.severity} /> },
                  { head: "State", cell: (row) => <State of={row.state} /> },
                  { head: "Seen", num: true, cell: (row) => value(row.observed, unitOf(row.metric)) },
                  { head: "Expected", num: true, cell: (row) => row.expected_low === null ? value(row.expected, unitOf(row.metric)) : span(row.expected_low, row.expected_high, unitOf(row.metric)) },
                  { head: "Opened", num: true, cell: (row) => <Ago at={row.opened_at} /> },
                  { head: "Held by", cell: (row) => row.acknowledged_by ?? <span className="text-faint">nobody</span> },
                ]}
              />
              <More query={query} />
            </>
          )}
      </Panel>
    </>
  );
}
