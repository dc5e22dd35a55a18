import { usePages } from "../api/pages";
import { count, metricName } from "../lib/format";
import { Ago, State } from "../ui/basics";
import { Head, HeadSkeleton, Panel } from "../ui/shell";
import { Empty, Failed, Skeleton } from "../ui/states";
import { More, RowLink, Table } from "../ui/table";
import { nearest, share, Stages } from "./rollout-parts";

const LIVE = ["running", "paused", "holdback"];

export function RolloutsPage() {
  const query = usePages("/api/v1/rollouts");
  const rows = query.items;
  const live = rows?.filter((row) => LIVE.includes(row.state)).length ?? 0;
  const paused = rows?.filter((row) => row.state === "paused").length ?? 0;
  return (
    <>
      {!rows && !query.isError ? <HeadSkeleton /> : (
        <Head
          title={live ? `${count(live, "change")} ${live === 1 ? "is" : "are"} on the way${paused ? `, ${paused} paused` : ""}` : "No change is on its way"}
          tone={paused ? "warn" : live ? "info" : "quiet"}
        >
          10 % of users, then 50 %, then all but a hold-back; the guard goes on or back by itself.
        </Head>
      )}
      <Panel flush>
        {query.isError && !rows ? <Failed error={query.error} retry={() => void query.refetch()} /> : !rows ? <Skeleton lines={8} />
          : rows.length === 0 ? <Empty title="Nothing was rolled out yet">An approved proposal starts a rollout.</Empty> : (
            <>
              <Table
                caption="Rollouts" rows={rows} id={(row) => row.id}
                columns={[
                  { head: "Rollout", lead: true, cell: (row) => (
                    <>
                      <RowLink to="/rollouts/$id" params={{ id: String(row.id) }}>{row.title}</RowLink>
                      <div className="line-clamp-2 text-xs text-muted">{row.app}{row.reason ? ` · ${row.reason}` : ""}</div>
                    </>
                  ) },
                  { head: "State", cell: (row) => <State of={row.state} label={row.state === "holdback" ? "Hold-back" : undefined!} /> },
                  { head: "Stage", cell: (row) => <Stages percent={row.percent} state={row.state} holdback={row.holdback_percent} /> },
                  { head: "Nearest to rollback", label: "To rollback", cell: (row) => {
                    const { danger } = nearest(row.guard);
                    return danger && LIVE.includes(row.state) ? `${metricName(danger.metric)}, ${Math.round(share(danger.e_rollback, danger.rollback_at) * 100)} %` : <span className="text-faint">–</span>;
                  } },
                  { head: "Started", num: true, cell: (row) => <Ago at={row.started_at} /> },
                ]}
              />
              <More query={query} />
            </>
          )}
      </Panel>
    </>
  );
}
