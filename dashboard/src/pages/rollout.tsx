import { Link, useParams } from "@tanstack/react-router";
import { Suspense, useMemo, useState } from "react";
import { $api, api, type Schemas } from "../api/client";
import { useUser } from "../api/session";
import { metricName, number, words } from "../lib/format";
import { said, useAct } from "../ui/acts";
import { Ago, Button, Chip, Facts, Moment, Sign, State, type Tone } from "../ui/basics";
import { Confirm } from "../ui/dialog";
import { IconPause, IconPlay, IconRight, IconUndo } from "../ui/icons";
import { LazyChart, Room } from "../ui/metric-chart";
import { Head, HeadSkeleton, Panel } from "../ui/shell";
import { Failed, Skeleton } from "../ui/states";
import { type Margin, MarginCard, margins, ratioOf, small, Stages } from "./rollout-parts";

type Evidence = Schemas["EvidencePoint"];
type Verb = "pause" | "resume" | "rollback" | "promote";

/** Evidence as it grew: the logarithm of the wealth of both bets against the lines where something follows. */
function EvidenceChart({ margin, rows }: { margin: Margin; rows: Evidence[] }) {
  const drawn = useMemo(() => ({
    times: rows.map((row) => Date.parse(row.at)),
    lines: [
      { name: "for a rollback", values: rows.map((row) => row.log_e_worse), tone: "bad" as const },
      { name: "for a promotion", values: rows.map((row) => row.log_e_fine), tone: "ok" as const, dash: true },
    ],
  }), [rows]);
  const rules = useMemo(() => [
    { at: Math.log(margin.rollback_at), label: `rollback at ${number(margin.rollback_at, 0)}`, tone: "bad" as const },
    { at: Math.log(margin.promote_at), label: `promote at ${number(margin.promote_at, 0)}`, tone: "ok" as const },
  ], [margin.rollback_at, margin.promote_at]);
  if (rows.length < 2) return null;
  const last = rows.at(-1)!;
  return (
    <Suspense fallback={<Room height={140} />}>
      <LazyChart {...drawn} rules={rules} unit="" log height={140} label={`Evidence on ${metricName(margin.metric)} over time, logarithmic: for a rollback ${number(last.log_e_worse, 1)} of ${number(Math.log(margin.rollback_at), 1)}, for a promotion ${number(last.log_e_fine, 1)} of ${number(Math.log(margin.promote_at), 1)}.`} />
    </Suspense>
  );
}

export function RolloutPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const call = { params: { path: { rollout_id: Number(id) } } };
  const query = $api.useQuery("get", "/api/v1/rollouts/{rollout_id}", call);
  const { may } = useUser();
  const [verb, setVerb] = useState<Verb | null>(null);
  const [reason, setReason] = useState("");
  const act = useAct(async (what: Verb) => {
    const body = { reason: reason.trim() || "by hand" };
    if (what === "pause") await api.POST("/api/v1/rollouts/{rollout_id}/pause", { ...call, body });
    else if (what === "resume") await api.POST("/api/v1/rollouts/{rollout_id}/resume", { ...call, body });
    else if (what === "promote") await api.POST("/api/v1/rollouts/{rollout_id}/promote", { ...call, body });
    else await api.POST("/api/v1/rollouts/{rollout_id}/rollback", { ...call, body });
  }, () => {
    setVerb(null);
    setReason("");
  });
  const rollout = query.data;
  const evidence = rollout?.evidence;
  const byMetric = useMemo(() => Map.groupBy(evidence ?? [], (each) => each.metric), [evidence]);
  if (!rollout) return query.isError ? <><Head title={`Rollout ${id}`} up={{ to: "/rollouts", name: "Rollouts" }} /><Failed error={query.error} retry={() => void query.refetch()} /></> : <><HeadSkeleton /><div className="panel"><Skeleton lines={14} /></div></>;
  const live = ["running", "paused", "holdback"].includes(rollout.state);
  const tone: Tone = rollout.state === "rolled_back" ? "bad" : rollout.state === "completed" ? "ok" : rollout.state === "paused" ? "warn" : "info";
  const said_ = {
    running: `is at ${rollout.percent} % of users`, paused: `is paused at ${rollout.percent} %`, holdback: `is out, ${rollout.holdback_percent} % held back to measure it`,
    completed: "is with everybody", rolled_back: "was rolled back",
  }[rollout.state];
  const change = rollout.change as { key?: string; from?: unknown; to?: unknown };
  const guarded = margins(rollout.guard);
  const ratio = ratioOf(rollout.guard);
  const now = `${rollout.percent} %`;
  const EFFECTS: Record<Verb, [string, string]> = {
    pause: ["Pause this rollout?", `The share stays at ${now}: nobody new gets the candidate, nobody loses it. The guard goes on watching and may still roll it back.`],
    resume: ["Resume this rollout?", "The guard may take it to the next stage again as soon as the evidence is there."],
    rollback: ["Roll it back?", `Everybody has the old configuration again within seconds, also the ${now} who have the candidate now. It is final: the proposal ends as rolled back.`],
    promote: ["Go to the next stage now?", `The share rises from ${now} ${rollout.percent >= 100 ? "and the hold-back ends" : `to ${rollout.percent < 50 ? 50 : 100} %`} without waiting for the evidence. The guard goes on watching.`],
  };
  return (
    <>
      <Head
        title={`${rollout.title} ${said_}`} tone={tone} up={{ to: "/rollouts", name: "Rollouts" }}
        actions={may("reviewer") && (
          <>
            {rollout.state === "paused" && <Button onClick={() => setVerb("resume")}><IconPlay />Resume</Button>}
            {(rollout.state === "running" || rollout.state === "holdback") && <Button onClick={() => setVerb("pause")}><IconPause />Pause</Button>}
            {(rollout.state === "running") && <Button onClick={() => setVerb("promote")}><IconRight />Promote</Button>}
            {(live || rollout.state === "completed") && <Button onClick={() => setVerb("rollback")}><IconUndo />Roll back</Button>}
          </>
        )}
      >
        <span className="inline-flex flex-wrap items-center gap-2">
          <State of={rollout.state} label={rollout.state === "holdback" ? "Hold-back" : undefined!} />
          {rollout.app} · <Link to="/proposals/$id" params={{ id: String(rollout.proposal_id) }} className="link">proposal {rollout.proposal_id}</Link> · started <Ago at={rollout.started_at} />
        </span>
        {rollout.reason && <p className="mt-1">{rollout.reason}</p>}
      </Head>
      <div className="mb-4"><Stages percent={rollout.percent} state={rollout.state} holdback={rollout.holdback_percent} wide /></div>
      <div className="grid items-start gap-4 lg:grid-cols-[minmax(0,1fr)_20rem]">
        <div className="min-w-0">
          <Panel title="Evidence">
            {guarded.length === 0 ? <p className="text-sm text-muted">No unit has settled yet: the first look is a few seconds after the first answers.</p> : (
              <>
                <p className="mb-1 text-sm text-muted">Two bets per metric. A bet that is wrong does not grow, however often one looks; one that reaches its line decides. The charts are logarithmic.</p>
                {guarded.map((margin) => (
                  <div key={margin.metric}>
                    <MarginCard margin={margin} />
                    <EvidenceChart margin={margin} rows={byMetric.get(margin.metric) ?? []} />
                  </div>
                ))}
              </>
            )}
          </Panel>
        </div>
        <div className="min-w-0">
          <Panel title="Facts">
            <Facts columns={1} items={[
              ["Change", <Chip key="change">{change.key}</Chip>],
              ["From", <code key="from" className="text-xs break-all">{JSON.stringify(change.from)}</code>],
              ["To", <code key="to" className="text-xs break-all">{JSON.stringify(change.to)}</code>],
              ["Stage began", <Ago key="stage" at={rollout.stage_started_at} />],
              ["Watched until", <Moment key="until" at={rollout.guarded_until} precise />],
              ["Held back", `${rollout.holdback_percent} %`],
              ...(rollout.finished_at ? [["Ended", <Moment key="end" at={rollout.finished_at} />] as [string, React.ReactNode]] : []),
            ]} />
          </Panel>
          <Panel title="Split">
            {ratio ? (
              <p className="flex items-start gap-2 text-sm">
                <Sign tone={ratio.e_value >= ratio.pause_at ? "bad" : "ok"} />
                {ratio.e_value >= ratio.pause_at
                  ? "Units do not arrive in the agreed shares: nothing else can be believed, so the rollout pauses."
                  : `Units arrive in the agreed shares (evidence against it ${small(ratio.e_value)} of ${number(ratio.pause_at, 0)}).`}
              </p>
            ) : <p className="text-sm text-muted">Not looked at yet.</p>}
          </Panel>
          <Panel title="History">
            <ol className="space-y-2.5 text-sm">
              {rollout.events.toReversed().map((event, index) => (
                <li key={index}>
                  <p className="flex flex-wrap justify-between gap-x-2"><b className="font-medium">{words(event.kind)}{event.from_percent !== event.to_percent && ` ${event.from_percent} → ${event.to_percent} %`}</b><span className="text-xs text-muted"><Moment at={event.at} precise /></span></p>
                  <p className="text-xs break-words text-muted">{event.actor}{typeof event.evidence.reason === "string" && event.evidence.reason ? `: ${event.evidence.reason}` : ""}</p>
                </li>
              ))}
            </ol>
          </Panel>
        </div>
      </div>
      {verb && (
        <Confirm
          title={EFFECTS[verb][0]} effect={<p>{EFFECTS[verb][1]}</p>} action={{ pause: "Pause", resume: "Resume", rollback: "Roll back", promote: "Promote" }[verb]}
          danger={verb === "rollback"} reason={reason} onReason={setReason} busy={act.isPending} error={said(act.error)}
          onConfirm={() => act.mutate(verb)} onClose={() => setVerb(null)}
        />
      )}
    </>
  );
}
