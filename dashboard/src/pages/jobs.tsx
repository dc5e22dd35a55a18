import { useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { $api, api, type Schemas } from "../api/client";
import { usePages } from "../api/pages";
import { useUser } from "../api/session";
import { count, duration, number } from "../lib/format";
import type { Filters } from "../router";
import { said, useAct } from "../ui/acts";
import { Ago, State } from "../ui/basics";
import { Confirm } from "../ui/dialog";
import { IconOut, IconPause, IconPlay, IconWarn } from "../ui/icons";
import { Head, HeadSkeleton, Panel } from "../ui/shell";
import { Empty, Failed, Skeleton } from "../ui/states";
import { More, RowLink, Table } from "../ui/table";

type QueueSummary = Schemas["QueueSummary"];

const QUEUES = ["monitoring", "research", "validation", "rollout", "evaluation", "notifications"];
const STATES = ["queued", "running", "done", "dead", "cancelled"];
/** A job that is due for longer than this has nobody who works on it, s. */
const OLD = 120;

function useFlower(): string | null {
  const { data } = $api.useQuery("get", "/api/v1/status", {}, { staleTime: 60_000 });
  return data?.flower_url ?? null;
}

export function Flower({ task }: { task?: string | null }) {
  const url = useFlower();
  if (!url || !/^https?:/.test(url)) return null;
  return (
    <a href={task ? `${url}/task/${encodeURIComponent(task)}` : url} target="_blank" rel="noreferrer" className="link inline-flex items-center gap-1 text-sm">
      {task ? "this delivery in Flower" : "Flower"}<IconOut width={12} height={12} />
    </a>
  );
}

/** How long the oldest job that is due waits; one that is meant for later waits for nobody. */
function useAges(): Record<string, number | null> {
  const { data } = $api.useQuery("get", "/api/v1/status", {}, { refetchInterval: 10_000 });
  return Object.fromEntries(data?.queues.map((queue) => [queue.name, queue.oldest_age_s]) ?? []);
}

function Queues({ rows, ages, onPick }: { rows: QueueSummary[]; ages: Record<string, number | null>; onPick: (filters: Filters) => void }) {
  const { may } = useUser();
  const pauses = $api.useQuery("get", "/api/v1/pause");
  const [asked, setAsked] = useState<{ queue: string; pause: boolean } | null>(null);
  const [reason, setReason] = useState("");
  const act = useAct(async ({ queue, pause }: { queue: string; pause: boolean }) => {
    if (pause) await api.POST("/api/v1/pause", { body: { queue, reason: reason.trim() } });
    else await api.DELETE("/api/v1/pause/{queue}", { params: { path: { queue } } });
  }, () => {
    setAsked(null);
    setReason("");
  });
  const cell = (queue: string, state: string) => rows.find((row) => row.queue === queue && row.state === state);
  const list = Array.isArray(pauses.data) ? pauses.data : [];
  const paused = (queue: string) => list.find((each) => each.queue === queue || each.queue === null);
  return (
    <>
      <Table
        caption="Queues" rows={QUEUES} id={(queue) => queue} cards={false}
        columns={[
          { head: "Queue", lead: true, cell: (queue) => (
            <>
              <button type="button" className="font-medium hover:text-accent hover:underline" onClick={() => onPick({ queue })}>{queue}</button>
              {paused(queue) && <div className="flex items-center gap-1 text-xs text-warn"><IconPause width={12} height={12} />paused: {paused(queue)!.reason}</div>}
            </>
          ) },
          ...["queued", "running", "dead"].map((state) => ({
            head: state === "dead" ? "Dead" : state === "queued" ? "Queued" : "Running", num: true,
            cell: (queue: string) => {
              const found = cell(queue, state);
              if (!found?.count) return <span className="text-faint">0</span>;
              return <button type="button" className={`link ${state === "dead" ? "text-bad" : ""}`} onClick={() => onPick({ queue, state })}>{number(found.count, 0)}</button>;
            },
          })),
          { head: "Oldest waits", num: true, cell: (queue) => {
            const age = ages[queue];
            if (age == null) return <span className="text-faint">–</span>;
            return <span className={age > OLD ? "inline-flex items-center gap-1 font-medium text-warn" : ""}>{age > OLD && <IconWarn width={12} height={12} />}{duration(age)}</span>;
          } },
          ...(may("admin") ? [{ head: <span className="sr-only">Pause</span>, label: "", num: true, cell: (queue: string) => {
            const now = paused(queue);
            if (now?.queue === null) return null;
            return <button type="button" className="link text-xs" onClick={() => setAsked({ queue, pause: !now })}>{now ? <span className="inline-flex items-center gap-1"><IconPlay width={11} height={11} />Resume</span> : "Pause"}</button>;
          } }] : []),
        ]}
      />
      {asked && (
        <Confirm
          title={asked.pause ? `Pause ${asked.queue}?` : `Resume ${asked.queue}?`} action={asked.pause ? "Pause" : "Resume"}
          {...(asked.pause ? { reason, onReason: setReason, needsReason: true } : {})} busy={act.isPending} error={said(act.error)}
          effect={<p>{asked.pause ? "No job of this queue is started until it is resumed; what runs ends normally, and nothing is lost. Guards of rollouts stay alive." : "Jobs that wait are started again, the oldest first."}</p>}
          onConfirm={() => act.mutate(asked)} onClose={() => setAsked(null)}
        />
      )}
    </>
  );
}

export function JobsPage() {
  const { queue, state } = useSearch({ strict: false }) as Filters;
  const navigate = useNavigate();
  const summary = $api.useQuery("get", "/api/v1/jobs/summary");
  const query = usePages("/api/v1/jobs", { queue, state });
  const rows = query.items;
  const pick = (next: Filters) => void navigate({ to: "/jobs", search: next as never });
  const of = (wanted: string) => summary.data?.filter((row) => row.state === wanted) ?? [];
  const dead = of("dead").reduce((sum, row) => sum + row.count, 0);
  const ages = useAges();
  const stuck = QUEUES.filter((each) => (ages[each] ?? 0) > OLD);
  return (
    <>
      {!summary.data && !summary.isError ? <HeadSkeleton /> : (
        <Head
          title={dead ? `${count(dead, "job")} ${dead === 1 ? "is" : "are"} dead` : stuck.length ? `${stuck[0]} waits for ${duration(ages[stuck[0]!])}` : "All work is in time"}
          tone={dead ? "bad" : stuck.length ? "warn" : "ok"} actions={<Flower />}
        >
          The durable record of all work; Flower shows what the workers hold right now.
        </Head>
      )}
      <Panel title="Queues" flush>{summary.data ? <Queues rows={summary.data} ages={ages} onPick={pick} /> : summary.isError ? <Failed error={summary.error} /> : <Skeleton lines={7} />}</Panel>
      <Panel
        title="Jobs" flush
        actions={
          <div className="flex gap-2">
            <select aria-label="Queue" className="field" value={queue ?? ""} onChange={(event) => pick({ queue: event.target.value, state })}>
              <option value="">every queue</option>{QUEUES.map((each) => <option key={each}>{each}</option>)}
            </select>
            <select aria-label="State" className="field" value={state ?? ""} onChange={(event) => pick({ queue, state: event.target.value })}>
              <option value="">every state</option>{STATES.map((each) => <option key={each}>{each}</option>)}
            </select>
          </div>
        }
      >
        {query.isError && !rows ? <Failed error={query.error} retry={() => void query.refetch()} /> : !rows ? <Skeleton lines={10} /> : rows.length === 0 ? <Empty title="No such job" good={state === "dead"} /> : (
          <>
            <Table
              caption="Jobs" rows={rows} id={(row) => row.id}
              columns={[
                { head: "Job", lead: true, cell: (row) => (
                  <>
                    <RowLink to="/jobs/$id" params={{ id: String(row.id) }}>{row.kind}</RowLink>
                    <div className="font-mono text-2xs break-all text-muted">{row.key}</div>
                    {row.error && row.state !== "done" && <div className="line-clamp-1 text-xs text-bad">{row.error}</div>}
                  </>
                ) },
                { head: "State", cell: (row) => <State of={row.state} /> },
                { head: "Attempts", num: true, cell: (row) => `${row.attempts} of ${row.max_attempts}` },
                { head: "Age", num: true, cell: (row) => duration(row.age_s) },
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
