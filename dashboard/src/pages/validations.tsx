import { usePages } from "../api/pages";
import { count } from "../lib/format";
import { Ago, State, toneOf } from "../ui/basics";
import { Head, HeadSkeleton, Panel } from "../ui/shell";
import { Empty, Failed, Skeleton } from "../ui/states";
import { More, RowLink, Table } from "../ui/table";

export function ValidationsPage() {
  const query = usePages("/api/v1/validations");
  const rows = query.items;
  const running = rows?.filter((row) => row.state === "queued" || row.state === "running").length ?? 0;
  const last = rows?.find((row) => row.verdict);
  return (
    <>
      {!rows && !query.isError ? <HeadSkeleton /> : (
        <Head
          title={running ? `${count(running, "validation")} ${running === 1 ? "is" : "are"} running` : last ? `The last validation ${{ pass: "passed", fail: "found a regression", inconclusive: "was inconclusive", error: "could not run" }[last.verdict!]}` : "Validations"}
          tone={running ? "info" : last ? toneOf(last.verdict!) : "quiet"}
        >
          Every candidate answers the golden set beside the baseline before a person sees it.
        </Head>
      )}
      <Panel flush>
        {query.isError && !rows ? <Failed error={query.error} retry={() => void query.refetch()} /> : !rows ? <Skeleton lines={8} />
          : rows.length === 0 ? <Empty title="Nothing was validated yet"><code>metamon validate run --app my-app --set retrieval.k=6</code></Empty> : (
            <>
              <Table
                caption="Validations" rows={rows} id={(row) => row.id}
                columns={[
                  { head: "Validation", lead: true, cell: (row) => (
                    <>
                      <RowLink to="/validations/$id" params={{ id: String(row.id) }}>{row.proposal_id ? `Proposal ${row.proposal_id}` : `Ad hoc by ${row.requested_by}`}</RowLink>
                      <div className="line-clamp-1 text-xs text-muted">{row.app} · {row.reasons[0] ?? "no verdict yet"}</div>
                    </>
                  ) },
                  { head: "Verdict", cell: (row) => <State of={row.verdict ?? row.state} /> },
                  { head: "Cases", num: true, cell: (row) => `${row.cases}${row.repeats > 1 ? ` × ${row.repeats}` : ""}` },
                  { head: "Regressed", num: true, cell: (row) => (row.verdict ? row.regressions : "–") },
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
