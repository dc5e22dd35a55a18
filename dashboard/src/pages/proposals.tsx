import { useNavigate, useSearch } from "@tanstack/react-router";
import { usePages } from "../api/pages";
import { conditions, count, metricName, number, pct } from "../lib/format";
import { around, reading } from "../lib/scale";
import type { Filters } from "../router";
import { Ago, Choice, State } from "../ui/basics";
import { IntervalBar } from "../ui/interval";
import { Head, HeadSkeleton, Panel } from "../ui/shell";
import { Empty, Failed, Skeleton } from "../ui/states";
import { More, RowLink, Table } from "../ui/table";

export function ProposalsPage() {
  const { state = "all" } = useSearch({ strict: false }) as Filters;
  const navigate = useNavigate();
  const query = usePages("/api/v1/proposals", state === "all" ? {} : { status: state });
  const waiting = usePages("/api/v1/proposals", { status: "awaiting_approval" });
  const rows = query.items;
  const n = waiting.items?.length;
  const scale = around(rows?.flatMap((row) => row.predicted_interval) ?? []);
  return (
    <>
      {n === undefined && !query.isError ? <HeadSkeleton /> : (
        <Head
          title={!n ? "No proposal waits for you" : `${count(n, "proposal")} ${n === 1 ? "waits" : "wait"} for your decision`}
          tone={n ? "warn" : "ok"}
          actions={
            <Choice
              label="Which proposals" value={state} onChange={(next) => void navigate({ to: "/proposals", search: { state: next } as never })}
              options={[["all", "All"], ["awaiting_approval", "Waiting"], ["rolling_out", "Rolling out"], ["implemented", "Implemented"], ["blocked", "Blocked"]]}
            />
          }
        />
      )}
      <Panel flush>
        {query.isError && !rows ? <Failed error={query.error} retry={() => void query.refetch()} /> : !rows ? <Skeleton lines={8} />
          : rows.length === 0 ? <Empty title="No proposals here">Research writes one when it can explain an alert by something that may be changed.</Empty> : (
            <>
              <Table
                caption="Proposals" rows={rows} id={(row) => row.id}
                columns={[
                  { head: "Proposal", lead: true, cell: (row) => (
                    <>
                      <RowLink to="/proposals/$id" params={{ id: String(row.id) }}>{row.title}</RowLink>
                      <div className="text-xs text-muted">{row.app} · {conditions(row.cause.conditions)}</div>
                    </>
                  ) },
                  { head: "Status", cell: (row) => <State of={row.status} /> },
                  { head: "Predicted", num: true, cell: (row) => <span title={`90 %: ${pct(row.predicted_interval[0] as number)} to ${pct(row.predicted_interval[1] as number)}`}>{pct(row.predicted_pct)} <span className="text-xs text-muted">{metricName(row.metric).toLowerCase()}</span></span> },
                  { head: <span className="sr-only">Interval</span>, label: "90 %", className: "w-36 max-md:hidden", cell: (row) => (
                    <IntervalBar scale={scale} low={row.predicted_interval[0] as number} high={row.predicted_interval[1] as number} value={row.predicted_pct} says={reading(row.predicted_interval[0] as number, row.predicted_interval[1] as number)} label={`predicted ${pct(row.predicted_pct)}`} />
                  ) },
                  { head: "Effort", num: true, cell: (row) => `${number(row.effort_hours, 1)} h` },
                  { head: "Impact", cell: (row) => row.impact },
                  { head: "Made", num: true, cell: (row) => <Ago at={row.created_at} /> },
                ]}
              />
              <More query={query} />
            </>
          )}
      </Panel>
    </>
  );
}
