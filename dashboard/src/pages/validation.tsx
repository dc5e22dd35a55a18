import { Link, useParams } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { $api, api } from "../api/client";
import { useUser } from "../api/session";
import { asText } from "../lib/diff";
import { count, duration, metricName, number } from "../lib/format";
import { said, useAct } from "../ui/acts";
import { Ago, Button, Choice, Facts, Moment, State, toneOf } from "../ui/basics";
import { Confirm } from "../ui/dialog";
import { Diff } from "../ui/diff";
import { Head, HeadSkeleton, Panel } from "../ui/shell";
import { Failed, Skeleton } from "../ui/states";
import { Comparison, Regressed } from "./comparison";

const VERDICTS: Record<string, string> = {
  pass: "The candidate passes", fail: "The candidate is worse", inconclusive: "It cannot be told yet", error: "It could not be judged",
};

function Progress({ id }: { id: number }) {
  const { data } = $api.useQuery("get", "/api/v1/validations/{validation_id}/progress", { params: { path: { validation_id: id } } }, { refetchInterval: 2_000 });
  if (!data) return <Skeleton lines={2} />;
  const part = data.total ? data.done / data.total : 0;
  const spent = data.started_at ? (Date.now() - Date.parse(data.started_at)) / 1000 : 0;
  return (
    <div className="text-sm">
      <svg role="progressbar" aria-label="Progress" aria-valuenow={Math.round(part * 100)} aria-valuemin={0} aria-valuemax={100} className="mb-2 h-2 w-full">
        <rect width="100%" height="8" rx="4" className="fill-sunken" />
        <rect width={`${part * 100}%`} height="8" rx="4" className="fill-accent" />
      </svg>
      {data.done} of {data.total} answers · {data.ok} ok · {data.failed} failed · {data.judge_errors} could not be judged
      {part > 0.05 && part < 1 && <span className="text-muted"> · about {duration((spent / part) * (1 - part))} to go</span>}
    </div>
  );
}

export function ValidationPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const query = $api.useQuery("get", "/api/v1/validations/{validation_id}", { params: { path: { validation_id: Number(id) } } });
  const { may } = useUser();
  const [metric, setMetric] = useState("all");
  const [asking, setAsking] = useState(false);
  const stop = useAct(() => api.POST("/api/v1/validations/{validation_id}/cancel", { params: { path: { validation_id: Number(id) } } }), () => setAsking(false));
  const found = query.data;
  const metrics = useMemo(() => [...new Set(found?.regressed.map((each) => each.metric) ?? [])], [found]);
  if (!found) return query.isError ? <><Head title={`Validation ${id}`} up={{ to: "/validations", name: "Validations" }} /><Failed error={query.error} retry={() => void query.refetch()} /></> : <><HeadSkeleton /><div className="panel"><Skeleton lines={14} /></div></>;
  const live = found.state === "queued" || found.state === "running";
  const shown = found.regressed.filter((each) => metric === "all" || each.metric === metric);
  return (
    <>
      <Head
        title={found.verdict ? `${VERDICTS[found.verdict]}${found.verdict === "fail" ? ` in ${count(found.regressions, "case")}` : ""}` : live ? "The candidate is being tried" : "The validation was cancelled"}
        tone={found.verdict ? toneOf(found.verdict) : live ? "info" : "quiet"} up={{ to: "/validations", name: "Validations" }}
        actions={live && may("reviewer") && <Button onClick={() => setAsking(true)}>Stop</Button>}
      >
        <span className="inline-flex flex-wrap items-center gap-2">
          <State of={found.verdict ?? found.state} />
          {found.app}{found.proposal_id && <> · <Link to="/proposals/$id" params={{ id: String(found.proposal_id) }} className="link">proposal {found.proposal_id}</Link></>}
          <span>· {found.finished_at ? <>finished <Ago at={found.finished_at} /></> : <>made <Ago at={found.created_at} /></>}</span>
        </span>
      </Head>
      <div className="grid items-start gap-4 lg:grid-cols-[minmax(0,1fr)_19rem]">
        <div className="min-w-0">
          {live && <Panel title="Progress"><Progress id={found.id} /></Panel>}
          {found.reasons.length > 0 && <Panel title="Why"><ul className="list-disc space-y-1 ps-5 text-sm">{found.reasons.map((reason) => <li key={reason}>{reason}</li>)}</ul></Panel>}
          {Object.keys(found.comparison).length > 0 && (
            <Panel title="Candidate against baseline" flush>
              <Comparison comparison={found.comparison} />
              <p className="border-t border-line px-4 py-2 text-xs text-muted">Bars: 95 % intervals of the paired difference. The solid rule is no difference, the dashed one the margin that a candidate may not cross.</p>
            </Panel>
          )}
          {found.regressed.length > 0 && (
            <Panel
              title={count(shown.length, "case that got worse", "cases that got worse")}
              actions={metrics.length > 1 && <Choice label="Metric" value={metric} onChange={setMetric} options={[["all", "All"], ...metrics.map((each) => [each, metricName(each)] as const)]} />}
            >
              <Regressed key={metric} cases={shown} first={10} />
            </Panel>
          )}
        </div>
        <div className="min-w-0">
          <Panel title="What was tried">
            {Object.entries(found.changed).map(([key, each]) => (
              <div key={key} className="mb-3 last:mb-0">
                <p className="mb-1 text-xs text-muted"><code>{key}</code></p>
                <div className="[&_div.grid]:grid-cols-1! [&_section+section]:border-s-0! [&_section+section]:border-t!">
                  <Diff before={asText(each.from)} after={asText(each.to)} names={["Baseline", "Candidate"]} />
                </div>
              </div>
            ))}
          </Panel>
          <Panel title="Facts">
            <Facts columns={1} items={[
              ["Golden set", `${found.golden_set}, version ${found.golden_version}`],
              ["Content", <code key="hash" className="text-xs">{found.golden_hash.slice(0, 12)}</code>],
              ["Judged by", <span key="judges" className="break-words">{found.judges.join(", then ") || "rules, no model"}</span>],
              ...(found.screen ? [["Quick screen before", found.screen.says] as [string, string]] : []),
              ["Cases", `${number(found.cases, 0)}${found.repeats > 1 ? `, ${found.repeats} times` : ""}`],
              ["Answers", number(found.total, 0)],
              ["Asked by", <span key="by" className="break-all">{found.requested_by}</span>],
              ["Started", <Moment key="start" at={found.started_at} precise />],
              ["Took", found.started_at && found.finished_at ? duration((Date.parse(found.finished_at) - Date.parse(found.started_at)) / 1000) : "–"],
              ["Seed", <code key="seed" className="text-xs">{found.seed}</code>],
            ]} />
          </Panel>
        </div>
      </div>
      {asking && (
        <Confirm
          title="Stop this validation?" action="Stop" danger busy={stop.isPending} error={said(stop.error)}
          effect={<p>The answers so far are kept, but there will be no verdict. A proposal that waits for it becomes inconclusive.</p>}
          onConfirm={() => stop.mutate(undefined)} onClose={() => setAsking(false)}
        />
      )}
    </>
  );
}
