import { Link, useLocation, useParams } from "@tanstack/react-router";
import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { $api, api, Problem, type Schemas } from "../api/client";
import { useUser } from "../api/session";
import { conditions, count, metricName, moment, number, pct, words } from "../lib/format";
import { asText } from "../lib/diff";
import { around, reading } from "../lib/scale";
import { said, useAct, useDraft } from "../ui/acts";
import { Ago, Button, Chip, Facts, Quoted, State, type Tone, toneOf } from "../ui/basics";
import { Confirm } from "../ui/dialog";
import { configText, Diff } from "../ui/diff";
import { IconCheck, IconCross } from "../ui/icons";
import { IntervalBar } from "../ui/interval";
import { onKeys } from "../ui/keys";
import { MetricChart } from "../ui/metric-chart";
import { Head, HeadSkeleton, Panel } from "../ui/shell";
import { Failed, Skeleton } from "../ui/states";
import { Comparison, Regressed } from "./comparison";
import { causeOf, ConfigChanges, Errors, Exemplars, HealthBars, Hit, packetOf } from "./evidence";
import { Stages } from "./rollout-parts";

type Proposal = Schemas["ProposalDetail"];
interface Draft {
  decision: "approve" | "reject";
  reason: string;
}

const OPEN = ["proposed", "validating", "blocked", "inconclusive", "awaiting_approval", "approved"];

const LEADS: Record<string, string> = {
  proposed: "It waits its turn: the proposals before it are tried first.",
  validating: "It is being tried against the golden set.",
  blocked: "Validation found a regression: it may not pass.",
  inconclusive: "Validation could not tell.",
  awaiting_approval: "It passed validation and waits for your decision.",
  approved: "It is approved; the rollout begins.",
  rejected: "It was rejected.",
  rolling_out: "It is on its way to everybody.",
  implemented: "Everybody has it.",
  rolled_back: "It was taken back.",
  superseded: "Another proposal made it pointless.",
};

function Conflict({ problem }: { problem: Problem }) {
  const { zone } = useUser();
  const { decided_by: by, decided_at: at, decision } = problem.more as { decided_by?: string; decided_at?: string; decision?: string };
  if (!by) return <>{problem.message}</>;
  return <>{by} was first: {words(decision ?? "decided").toLowerCase()} on {moment(at, zone)}. Nothing was changed by you.</>;
}

function Decide({ proposal, draft, setDraft }: { proposal: Proposal; draft: Draft; setDraft: (draft: Draft | null) => void }) {
  const approve = draft.decision === "approve";
  const act = useAct(
    async () => {
      const call = { params: { path: { proposal_id: proposal.id } }, body: { reason: draft.reason.trim(), change_hash: proposal.change_hash } };
      await (approve ? api.POST("/api/v1/proposals/{proposal_id}/approve", call) : api.POST("/api/v1/proposals/{proposal_id}/reject", call));
    },
    () => setDraft(null),
  );
  const problem = act.error instanceof Problem ? act.error : null;
  const change = proposal.change as { type?: string; key?: string; from?: unknown; to?: unknown };
  return (
    <Confirm
      title={approve ? "Approve this change?" : "Reject this proposal?"}
      action={approve ? "Approve" : "Reject"}
      danger={!approve}
      reason={draft.reason}
      onReason={(reason) => setDraft({ ...draft, reason })}
      needsReason={!approve}
      busy={act.isPending}
      disabled={problem?.status === 409}
      error={problem?.status === 409 ? <Conflict problem={problem} /> : said(act.error)}
      onConfirm={() => act.mutate(undefined)}
      onClose={() => setDraft(null)}
      effect={approve ? (
        <>
          {change.type === "code" ? <p>This is a recommendation for people: approving it changes nothing by itself.</p> : (
            <p>
              The rollout of <Chip>{change.key}: {JSON.stringify(change.from)} → {JSON.stringify(change.to)}</Chip> in {proposal.app} starts at once
              with 10 % of users. The guard takes it to 50 % and 100 %, or back, by itself.
            </p>
          )}
          <p className="text-muted">The approval holds for exactly this change <code className="text-xs">({proposal.change_hash.slice(0, 12)})</code> and is on record under your name.</p>
        </>
      ) : (
        <>
          <p>It is never rolled out, and cannot be taken up again. Nothing changes in {proposal.app}.</p>
          {proposal.alternatives.length > 0 && <p className="text-muted">The next idea for the same alert may be tried.</p>}
        </>
      )}
    />
  );
}

function ChangeDiff({ proposal }: { proposal: Proposal }) {
  const change = proposal.change as { type?: string; key?: string; from?: unknown; to?: unknown; note?: string };
  const decided = !OPEN.includes(proposal.status);
  const app = $api.useQuery("get", "/api/v1/apps/{name}", { params: { path: { name: proposal.app } } }, { staleTime: 60_000, enabled: !!change.key });
  const [before, after] = useMemo(() => {
    if (!change.key) return ["", ""];
    const texts = [asText(change.from), asText(change.to)] as const;
    if (texts.some((each) => each.includes("\n") || each.length > 120)) return texts;
    const config = app.data?.config ?? {};
    return [configText({ ...config, [change.key]: change.from }, [change.key]), configText({ ...config, [change.key]: change.to }, [change.key])] as const;
  }, [app.data, change.key, change.from, change.to]);
  if (!change.key) return <p className="text-sm whitespace-pre-wrap">{change.note || "A recommendation in words; nothing is changed by the system."}</p>;
  return (
    <>
      <Diff before={before} after={after} names={decided ? ["Before", "After"] : ["Now", "Proposed"]} />
      {change.note && <p className="mt-2 text-sm whitespace-pre-wrap">{change.note}</p>}
    </>
  );
}

function Ideas({ proposal }: { proposal: Proposal }) {
  const ideas = proposal.hypotheses as { title?: string; kind?: string; rejected?: string | null; risk?: string; impact?: string }[];
  if (!ideas.length) return <p className="text-sm text-muted">No other idea was recorded.</p>;
  const out = ideas.filter((idea) => idea.rejected);
  const kept = ideas.filter((idea) => !idea.rejected);
  return (
    <div className="space-y-4 text-sm">
      {out.length === 0 && <p className="text-muted">No idea was ruled out before validation.</p>}
      {out.length > 0 && (
        <ul className="space-y-2">
          {out.map((idea, index) => (
            <li key={index} className="flex gap-2">
              <IconCross className="mt-0.5 text-muted" />
              <span><span className="line-through decoration-line-strong">{idea.title}</span><span className="block text-muted">{idea.rejected}</span></span>
            </li>
          ))}
        </ul>
      )}
      {kept.length > 1 && (
        <div>
          <h3 className="mb-1">Kept, in the order of research</h3>
          <ol className="list-decimal space-y-0.5 ps-5">
            {kept.map((idea, index) => <li key={index} className={idea.title === proposal.title ? "font-medium" : "text-muted"}>{idea.title}{idea.title === proposal.title ? " (this one)" : ""}</li>)}
          </ol>
        </div>
      )}
    </div>
  );
}

function Validated({ id }: { id: number }) {
  const query = $api.useQuery("get", "/api/v1/validations/{validation_id}", { params: { path: { validation_id: id } } });
  const found = query.data;
  if (!found) return query.isError ? <Failed error={query.error} retry={() => void query.refetch()} /> : <Skeleton lines={6} />;
  return (
    <>
      <div className="flex flex-wrap items-center justify-between gap-2 px-4 pt-3 text-sm">
        <p className="flex flex-wrap items-center gap-2">
          <State of={found.verdict ?? found.state} />
          {count(found.cases, "golden case")}{found.repeats > 1 ? ` × ${found.repeats}` : ""}, {count(found.regressions, "regression")}
        </p>
        <Link to="/validations/$id" params={{ id: String(id) }} className="link text-xs">validation {id}</Link>
      </div>
      <ul className="list-disc space-y-0.5 px-4 py-2 ps-9 text-sm text-muted">{found.reasons.map((reason) => <li key={reason}>{reason}</li>)}</ul>
      {Object.keys(found.comparison).length > 0 && <Comparison comparison={found.comparison} />}
      {found.regressed.length > 0 && (
        <div className="border-t border-line p-4">
          <h3 className="mb-2">Cases that got worse</h3>
          <Regressed cases={found.regressed} first={3} />
        </div>
      )}
    </>
  );
}

function Step({ n, title, children, flush = false }: { n: number; title: string; children: ReactNode; flush?: boolean }) {
  return <Panel flush={flush} title={<span><span className="me-2 text-faint">{n}</span>{title}</span>}>{children}</Panel>;
}

export function ProposalPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const query = $api.useQuery("get", "/api/v1/proposals/{proposal_id}", { params: { path: { proposal_id: Number(id) } } });
  const { may, user } = useUser();
  const [draft, setDraft] = useDraft<Draft>(`proposal:${id}`);
  const [asked, setAsked] = useState(false);
  const proposal = query.data;
  const waits = proposal?.status === "awaiting_approval";
  const rejectable = !!proposal && ["proposed", "validating", "blocked", "inconclusive", "awaiting_approval", "approved"].includes(proposal.status);
  const mayDecide = may("reviewer");
  const begin = (decision: Draft["decision"]) => {
    setAsked(true);
    setDraft({ decision, reason: draft?.reason ?? "" });
  };
  // A mail's link opens the question, and answers nothing.
  const decide = useLocation({ select: (location) => location.hash === "decide" });
  const come = useRef(false);
  useEffect(() => {
    if (!decide || !waits || !mayDecide || come.current) return;
    come.current = true;
    begin("approve");
  });
  useEffect(
    () => onKeys((key) => {
      if (!mayDecide) return false;
      if (key === "a" && waits) begin("approve");
      else if (key === "r" && rejectable) begin("reject");
      else return false;
      return true;
    }),
  );
  if (!proposal) {
    return query.isError
      ? <><Head title={`Proposal ${id}`} up={{ to: "/proposals", name: "Proposals" }} /><Failed error={query.error} retry={() => void query.refetch()} /></>
      : <><HeadSkeleton /><div className="panel"><Skeleton lines={16} /></div></>;
  }
  const cause = causeOf(proposal);
  const packet = packetOf(proposal);
  const [low, high] = proposal.predicted_interval as [number, number];
  const measured = proposal.measured;
  const scale = around([low, high, measured?.measured_pct, ...(measured?.measured_interval as (number | null)[] | undefined ?? [])]);
  const validation = proposal.validations.at(-1);
  const tone: Tone = waits ? "warn" : toneOf(proposal.status);
  const from = packet.bad_from ? new Date(Date.parse(packet.bad_from) - 15 * 60_000).toISOString() : null;
  const until = packet.bad_until ? new Date(Math.min(Date.now(), Date.parse(packet.bad_until) + 15 * 60_000)).toISOString() : undefined;
  const dialog = draft !== null && (asked || draft.reason !== "") && mayDecide;
  return (
    <>
      <Head title={proposal.title} tone={tone} up={{ to: "/proposals", name: "Proposals" }}>
        <span className="inline-flex flex-wrap items-center gap-x-2 gap-y-1">
          <State of={proposal.status} />{LEADS[proposal.status]}
          <span>{proposal.app} · made <Ago at={proposal.created_at} /></span>
        </span>
      </Head>
      <div className="grid items-start gap-4 lg:grid-cols-[minmax(0,1fr)_19rem]">
        <div className="order-2 min-w-0 lg:order-1">
          <Step n={1} title="What happened">
            <p className="mb-3 max-w-prose">{proposal.root_cause}</p>
            {proposal.explanation && (
              <Quoted text={proposal.explanation} by={proposal.explained_by} from="the evidence below" />
            )}
            <Hit cause={cause} />
            {from && packet.metric && (
              <div className="mt-4">
                <h3 className="mb-1">{metricName(packet.metric)} around the onset</h3>
                <MetricChart app={proposal.app} metric={packet.metric} since={from} {...(until ? { until } : {})} height={150} />
              </div>
            )}
          </Step>
          <Step n={2} title="Evidence">
            <Exemplars packet={packet} />
            <Errors packet={packet} />
            <HealthBars packet={packet} cause={cause} />
            <ConfigChanges packet={packet} />
            {proposal.alert_id && (
              <p className="mt-3 text-sm text-muted">
                From <Link to="/alerts/$id" params={{ id: String(proposal.alert_id) }} className="link">alert {proposal.alert_id}</Link>
                {proposal.also_alerts.length > 0 && <>; the same cause as {proposal.also_alerts.map((each) => <Link key={each} to="/alerts/$id" params={{ id: String(each) }} className="link ms-1">alert {each}</Link>)}</>}.
              </p>
            )}
          </Step>
          <Step n={3} title="What was ruled out"><Ideas proposal={proposal} /></Step>
          <Step n={4} title="The change"><ChangeDiff proposal={proposal} /></Step>
          <Step n={5} title="Validation" flush>
            {proposal.screen && <p className="border-b border-line px-4 py-2 text-sm text-muted">Quick screen{proposal.screen.skipped ? "" : ` on ${metricName(proposal.screen.metric)}`}: {proposal.screen.says}</p>}
            {validation ? <Validated id={validation.id} /> : <p className="p-4 text-sm text-muted">It was not tried against the golden set yet.</p>}
          </Step>
          <Step n={6} title="Risk"><p className="text-sm">{proposal.risk || "None was named."}</p></Step>
        </div>
        <aside className="order-1 min-w-0 lg:sticky lg:top-4 lg:order-2" aria-label="Decision">
          <Panel title="Decision">
            <div className="mb-4">
              <p className="flex items-baseline justify-between gap-2">
                <span className="text-sm text-muted">Predicted</span>
                <b className="text-xl font-semibold">{pct(proposal.predicted_pct)}</b>
              </p>
              <IntervalBar low={low} high={high} value={proposal.predicted_pct} scale={scale} says={reading(low, high)} label={`predicted ${pct(proposal.predicted_pct)}, 90 % between ${pct(low)} and ${pct(high)}`} />
              <p className="text-xs text-muted">{metricName(proposal.metric)}, all traffic; 90 % between {pct(low)} and {pct(high)}</p>
              {measured && (
                <div className="mt-3">
                  <p className="flex items-baseline justify-between gap-2"><span className="text-sm text-muted">Measured</span><b className="text-xl font-semibold">{pct(measured.measured_pct)}</b></p>
                  <IntervalBar low={measured.measured_interval[0] as number | null} high={measured.measured_interval[1] as number | null} value={measured.measured_pct} scale={scale} says={reading(measured.measured_interval[0] as number | null, measured.measured_interval[1] as number | null)} label={`measured ${pct(measured.measured_pct)}`} />
                  <p className="text-xs text-muted">{measured.method === "holdback" ? "against the hold-back" : "a description, no control"}{measured.roi !== null ? ` · ROI ${number(measured.roi, 1)} ×` : ""}</p>
                  {measured.explanation && <Quoted text={measured.explanation} by={measured.explained_by} from="these figures" />}
                </div>
              )}
            </div>
            <Facts columns={1} items={[
              ["Effort", `${number(proposal.effort_hours, 1)} h (80 % below ${number(proposal.effort_hours_p80, 1)} h; ${proposal.effort_basis})`],
              ["Impact", proposal.impact === "high" ? "high: a person decides" : "low: policy may decide"],
              ["Hits", conditions(cause.conditions)],
              ["Validation", validation ? <State key="v" of={validation.verdict ?? validation.state} /> : "none yet"],
              ...(proposal.reviewed_by ? [["Decided by", <span key="by" className="break-all">{proposal.reviewed_by} <Ago at={proposal.reviewed_at} /></span>] as [string, ReactNode]] : []),
            ]} />
            {proposal.review_reason && <p className="mt-2 line-clamp-6 border-s-2 border-line-strong ps-2 text-xs break-words text-muted" title={proposal.review_reason}>{proposal.review_reason}</p>}
            {proposal.rollout && (
              <div className="mt-3 space-y-1.5 text-sm">
                <Link to="/rollouts/$id" params={{ id: String(proposal.rollout.id) }} className="link">Rollout {proposal.rollout.id}</Link>
                <Stages percent={proposal.rollout.percent} state={proposal.rollout.state} holdback={0} />
                {proposal.rollout.reason && <p className="text-xs text-muted">{proposal.rollout.reason}</p>}
              </div>
            )}
            {rejectable && (
              <div className="mt-4">
                {mayDecide ? (
                  <div className="flex flex-wrap gap-2 *:flex-1">
                    {waits && <Button look="main" keys="a" onClick={() => begin("approve")}><IconCheck />Approve</Button>}
                    <Button keys="r" onClick={() => begin("reject")}><IconCross />Reject</Button>
                  </div>
                ) : (
                  <p className="text-xs text-muted">Reviewers decide; {user?.email} is a viewer.</p>
                )}
              </div>
            )}
          </Panel>
          {proposal.alternatives.length > 0 && (
            <p className="px-1 text-sm text-muted">
              Other ideas for this alert: {proposal.alternatives.map((each) => <Link key={each} to="/proposals/$id" params={{ id: String(each) }} className="link me-2">{each}</Link>)}
            </p>
          )}
        </aside>
      </div>
      {dialog && <Decide proposal={proposal} draft={draft} setDraft={setDraft} />}
    </>
  );
}
