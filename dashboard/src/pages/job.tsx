import { Link, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { $api, api, type Schemas } from "../api/client";
import { useUser } from "../api/session";
import { duration } from "../lib/format";
import { said, useAct } from "../ui/acts";
import { Ago, Button, Facts, Moment, State, toneOf } from "../ui/basics";
import { Confirm } from "../ui/dialog";
import { IconRetry } from "../ui/icons";
import { Head, HeadSkeleton, Panel } from "../ui/shell";
import { Failed, Skeleton } from "../ui/states";
import { Flower } from "./jobs";

type Node = Schemas["JobNode"];

const SUBJECTS: [RegExp, string][] = [
  [/^alert_id$/, "/alerts/$id"], [/^proposal_id$/, "/proposals/$id"], [/^validation_id$/, "/validations/$id"],
  [/^rollout_id$/, "/rollouts/$id"], [/^email_id$/, "/mail/$id"],
];

function Branch({ node, here, depth = 0 }: { node: Node; here: number; depth?: number }) {
  const children = node.children ?? [];
  const [all, setAll] = useState(false);
  const shown = all ? children : children.slice(0, 30);
  return (
    <li>
      <div className={`flex min-w-0 items-center gap-2 rounded-sm px-1.5 py-1 ${node.id === here ? "bg-accent-soft" : ""}`}>
        <State of={node.state} soft={false} label="" />
        <span className="sr-only">{node.state}</span>
        <Link to="/jobs/$id" params={{ id: String(node.id) }} data-row="" className={`truncate hover:underline ${node.id === here ? "font-semibold" : ""}`} title={node.key}>{node.kind}</Link>
        <span className="ms-auto shrink-0 text-xs text-muted">{duration(node.age_s)}</span>
      </div>
      {children.length > 0 && (
        <ul className={depth < 8 ? "ms-3 border-s border-line ps-2" : ""}>
          {shown.map((child) => <Branch key={child.id} node={child} here={here} depth={depth + 1} />)}
          {children.length > shown.length && <li><button type="button" className="link ps-2 text-xs" onClick={() => setAll(true)}>{children.length - shown.length} more</button></li>}
        </ul>
      )}
    </li>
  );
}

export function JobPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const call = { params: { path: { job_id: Number(id) } } };
  const query = $api.useQuery("get", "/api/v1/jobs/{job_id}", call);
  const tree = $api.useQuery("get", "/api/v1/jobs/{job_id}/tree", call, { enabled: !!query.data });
  const { may } = useUser();
  const [verb, setVerb] = useState<"retry" | "cancel" | null>(null);
  const act = useAct(
    (what: "retry" | "cancel") => (what === "retry" ? api.POST("/api/v1/jobs/{job_id}/retry", call) : api.POST("/api/v1/jobs/{job_id}/cancel", call)),
    () => setVerb(null),
  );
  const job = query.data;
  if (!job) return query.isError ? <><Head title={`Job ${id}`} up={{ to: "/jobs", name: "Jobs" }} /><Failed error={query.error} retry={() => void query.refetch()} /></> : <><HeadSkeleton /><div className="panel"><Skeleton lines={12} /></div></>;
  const retryable = job.state === "dead" || job.state === "cancelled";
  const stoppable = job.state === "queued" || job.state === "running";
  const chain = tree.data ?? job.chain;
  return (
    <>
      <Head
        title={`${job.kind} ${{ queued: "waits", running: "is running", done: "is done", dead: "is dead", cancelled: "was cancelled" }[job.state]}`}
        tone={toneOf(job.state)} up={{ to: "/jobs", name: "Jobs" }}
        actions={may("admin") && (
          <>
            {retryable && <Button onClick={() => setVerb("retry")}><IconRetry />Retry</Button>}
            {stoppable && <Button onClick={() => setVerb("cancel")}>Cancel</Button>}
          </>
        )}
      >
        <span className="inline-flex flex-wrap items-center gap-2"><State of={job.state} /><code className="text-xs break-all">{job.key}</code></span>
      </Head>
      <div className="grid items-start gap-4 lg:grid-cols-[minmax(0,1fr)_20rem]">
        <div className="min-w-0">
          {job.error && (
            <Panel title={job.state === "done" ? "Error of an earlier attempt" : "Error"}>
              <pre className="max-h-72 overflow-auto text-xs whitespace-pre-wrap" tabIndex={0}>{job.error}</pre>
            </Panel>
          )}
          <Panel title="From the sweep to the mail">
            <ul className="text-sm">{chain ? <Branch node={chain} here={job.id} /> : <Skeleton lines={5} />}</ul>
            {job.chain_truncated && <p className="mt-2 text-xs text-muted">The chain is longer than what is shown.</p>}
          </Panel>
        </div>
        <div className="min-w-0">
          <Panel title="Facts">
            <Facts columns={1} items={[
              ["Queue", job.queue],
              ["Attempts", `${job.attempts} of ${job.max_attempts}`],
              ["Dispatched", `${job.dispatches} ×`],
              ["Made", <Moment key="made" at={job.created_at} precise />],
              ["Due", <Moment key="due" at={job.run_at} precise />],
              ["Started", <Moment key="started" at={job.started_at} precise />],
              ["Finished", <Moment key="finished" at={job.finished_at} precise />],
              ["Lease until", job.state === "running" ? <Ago key="lease" at={job.lease_until} /> : "–"],
              ["Age", duration(job.age_s)],
            ]} />
            {job.owner && <p className="mt-3"><Flower task={job.owner.split("@")[0] ?? job.owner} /></p>}
          </Panel>
          <Panel title="Arguments">
            {Object.keys(job.args).length === 0 ? <p className="text-sm text-muted">None.</p> : (
              <Facts columns={1} items={Object.entries(job.args).map(([name, value]) => {
                const to = SUBJECTS.find(([pattern]) => pattern.test(name))?.[1];
                return [name, to ? <Link key={name} to={to} params={{ id: String(value) }} className="link">{String(value)}</Link> : <code key={name} className="text-xs break-all">{String(value)}</code>];
              })} />
            )}
          </Panel>
        </div>
      </div>
      {verb && (
        <Confirm
          title={verb === "retry" ? "Retry this job?" : "Cancel this job?"} action={verb === "retry" ? "Retry" : "Cancel the job"} danger={verb === "cancel"}
          effect={<p>{verb === "retry" ? "It gets a fresh set of attempts and is due at once. What it did before is not done twice." : "It is not started any more; a worker that is at it cannot commit. What would have come of it does not happen."}</p>}
          busy={act.isPending} error={said(act.error)} onConfirm={() => act.mutate(verb)} onClose={() => setVerb(null)}
        />
      )}
    </>
  );
}
