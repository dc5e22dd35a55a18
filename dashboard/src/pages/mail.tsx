import { useNavigate, useSearch } from "@tanstack/react-router";
import { usePages } from "../api/pages";
import { count, words } from "../lib/format";
import type { Filters } from "../router";
import { Ago, Choice, State } from "../ui/basics";
import { Head, HeadSkeleton, Panel } from "../ui/shell";
import { Empty, Failed, Skeleton } from "../ui/states";
import { More, RowLink, Table } from "../ui/table";

export function MailPage() {
  const { state = "all" } = useSearch({ strict: false }) as Filters;
  const navigate = useNavigate();
  const query = usePages("/api/v1/mail", state === "all" ? {} : { state });
  const failed = usePages("/api/v1/mail", { state: "failed" });
  const unknown = usePages("/api/v1/mail", { state: "unknown" });
  const rows = query.items;
  const bad = (failed.items?.length ?? 0) + (unknown.items?.length ?? 0);
  return (
    <>
      {(!failed.items || !unknown.items) && !query.isError ? <HeadSkeleton /> : (
        <Head
          title={unknown.items?.length ? `Of ${count(unknown.items.length, "mail")} nobody knows whether ${unknown.items.length === 1 ? "it" : "they"} arrived` : failed.items?.length ? `${count(failed.items.length, "mail")} failed` : "Every mail was sent"}
          tone={bad ? "warn" : "ok"}
          actions={<Choice label="Which mails" value={state} onChange={(next) => void navigate({ to: "/mail", search: { state: next } as never })} options={[["all", "All"], ["sent", "Sent"], ["queued", "Queued"], ["failed", "Failed"], ["unknown", "Unknown"]]} />}
        />
      )}
      <Panel flush>
        {query.isError && !rows ? <Failed error={query.error} retry={() => void query.refetch()} /> : !rows ? <Skeleton lines={8} /> : rows.length === 0 ? <Empty title="No mail here" good={state === "failed" || state === "unknown"} /> : (
          <>
            <Table
              caption="Mails" rows={rows} id={(row) => row.id}
              columns={[
                { head: "Subject", lead: true, cell: (row) => (
                  <>
                    <RowLink to="/mail/$id" params={{ id: String(row.id) }}>{row.subject}</RowLink>
                    {row.error && <div className="line-clamp-1 text-xs text-bad">{row.error}</div>}
                  </>
                ) },
                { head: "Kind", cell: (row) => words(row.kind) },
                { head: "To", className: "break-all", cell: (row) => row.to },
                { head: "State", cell: (row) => <State of={row.state} /> },
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
