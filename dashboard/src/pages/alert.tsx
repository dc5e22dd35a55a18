import { Link, useParams } from "@tanstack/react-router";
import { useState } from "react";
import { $api, api, type Schemas } from "../api/client";
import { useUser } from "../api/session";
import { chance, count, metricName, moment, span, value, words } from "../lib/format";
import { said, useAct } from "../ui/acts";
import { Ago, Button, Facts, Moment, Quoted, State, toneOf, TraceLink } from "../ui/basics";
import { Confirm } from "../ui/dialog";
import { IconCheck, IconMute } from "../ui/icons";
import { MetricChart } from "../ui/metric-chart";
import { Head, HeadSkeleton, Panel } from "../ui/shell";
import { Empty, Failed, Skeleton } from "../ui/states";
import { unitOf } from "./alerts";

function Life({ alert }: { alert: Schemas["AlertDetail"] }) {
  const unit = unitOf(alert.metric);
  return (
    <ol className="relative ms-1.5 border-s border-line text-sm">
      {alert.events.map((event, index) => {
        const proposal = (event.detail as { proposal_id?: number }).proposal_id;
        const { summary, note } = event.detail as { summary?: string; note?: string };
        return (
          <li key={index} className="relative ps-4 pb-3 last:pb-0">
            <span className="absolute -start-[4.5px] top-1.5 size-2 rounded-full bg-line-strong" />
            <div className="flex flex-wrap items-baseline justify-between gap-x-3">
              <span><State of={event.kind} soft={false} />{event.observed !== null && <span className="text-muted"> at {value(event.observed, unit)}</span>}</span>
              <span className="text-xs text-muted"><Moment at={event.at} precise /></span>
            </div>
            {note && <p className="mt-0.5 text-muted">{note}</p>}
            {summary && <p className="mt-0.5 text-muted">{summary}</p>}
            {proposal && <Link to="/proposals/$id" params={{ id: String(proposal) }} className="link text-xs">proposal {proposal}</Link>}
          </li>
        );
      })}
    </ol>
  );
}

const HOURS = [["1", "1 hour"], ["4", "4 hours"], ["24", "a day"], ["168", "a week"]] as const;

export function AlertPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const query = $api.useQuery("get", "/api/v1/alerts/{alert_id}", { params: { path: { alert_id: Number(id) } } });
  const apps = $api.useQuery("get", "/api/v1/apps", {}, { enabled: !!query.data, staleTime: 60_000 });
  const { may, zone } = useUser();
  const [muting, setMuting] = useState(false);
  const [reason, setReason] = useState("");
  const [hours, setHours] = useState("4");
  const ack = useAct(() => api.POST("/api/v1/alerts/{alert_id}/ack", { params: { path: { alert_id: Number(id) } } }));
  const list = apps.data as unknown as Schemas["AppRecord"][] | { items: Schemas["AppRecord"][] } | undefined;
  const app = (Array.isArray(list) ? list : list?.items)?.find((each) => each.name === query.data?.app);
  const mute = useAct(
    () => api.POST("/api/v1/silences", {
      body: { app_id: app!.id, fingerprint: query.data!.fingerprint, reason, until: new Date(Date.now() + Number(hours) * 3_600_000).toISOString() },
    }),
    () => setMuting(false),
  );
  const alert = query.data;
  if (!alert) return query.isError ? <><Head title={`Alert ${id}`} up={{ to: "/alerts", name: "Alerts" }} /><Failed error={query.error} retry={() => void query.refetch()} /></> : <><HeadSkeleton /><div className="panel"><Skeleton lines={14} /></div></>;
  const unit = unitOf(alert.metric);
  const open = alert.state !== "resolved";
  const from = new Date(Date.parse(alert.window_start) - Math.max(10 * 60_000, (Date.parse(alert.window_end) - Date.parse(alert.window_start)) * 1.5)).toISOString();
  return (
    <>
      <Head
        title={alert.title} tone={open ? toneOf(alert.severity) : "ok"} up={{ to: "/alerts", name: "Alerts" }}
        actions={open && may("reviewer") && (
          <>
            {!alert.acknowledged_at && <Button onClick={() => ack.mutate(undefined)} busy={ack.isPending}><IconCheck />I have it</Button>}
            <Button onClick={() => setMuting(true)} disabled={!app}><IconMute />Silence</Button>
          </>
        )}
      >
        <span className="inline-flex flex-wrap items-center gap-2">
          <State of={alert.state} /><State of={alert.severity} />
          <span>{alert.app} · {open ? <>open since <Moment at={alert.opened_at} /></> : <>resolved <Ago at={alert.resolved_at} /></>}</span>
          {alert.acknowledged_by && <span>· held by {alert.acknowledged_by}</span>}
          {alert.flapping && <span>· flapping: repeats are muted</span>}
        </span>
        {ack.isError && <p role="alert" className="text-bad">{said(ack.error)}</p>}
      </Head>
      <div className="grid gap-4 lg:grid-cols-[minmax(0,1fr)_20rem]">
        <div className="min-w-0">
          <Panel title={metricName(alert.metric)}>
            <MetricChart app={alert.app} metric={alert.metric} since={from} {...(open ? {} : { until: new Date(Date.parse(alert.resolved_at ?? alert.window_end) + 600_000).toISOString() })} height={190} />
          </Panel>
          <Panel title="What was seen">
            <ul className="list-disc space-y-1 ps-5 text-sm">
              {alert.reasons.map((reason) => <li key={reason}>{reason}</li>)}
            </ul>
          </Panel>
          <Panel title="What comes of it">
            {alert.root_cause && <p className="mb-2 text-sm">{alert.root_cause}</p>}
            {alert.explanation && <Quoted text={alert.explanation} by={alert.explained_by} from="what was detected" />}
            {alert.muted_by !== null && (
              <p className="mb-2 text-sm text-muted">Not told by itself: <Link to="/alerts/$id" params={{ id: String(alert.muted_by) }} className="link">alert {alert.muted_by}</Link> is its cause.</p>
            )}
            {alert.proposals.length === 0 ? (
              <p className="text-sm text-muted">{alert.events.some((event) => event.kind === "researched") ? "Research found nothing that can be changed." : "Research has not finished yet."}</p>
            ) : (
              <ul className="space-y-1.5 text-sm">
                {alert.proposals.map((each, index) => (
                  <li key={each}><Link to="/proposals/$id" params={{ id: String(each) }} className="link">Proposal {each}</Link> <span className="text-muted">rank {index + 1}</span></li>
                ))}
              </ul>
            )}
            {alert.related.length > 0 && (
              <p className="mt-3 text-sm text-muted">
                Open at the same time: {alert.related.map((each) => <Link key={each} to="/alerts/$id" params={{ id: String(each) }} className="link me-2">alert {each}</Link>)}
              </p>
            )}
          </Panel>
          {alert.exemplar && (
            <Panel title="Keep it from coming back">
              <p className="mb-2 text-sm">Make a golden case of <Link to="/traces/$id" params={{ id: alert.exemplar }} className="link">a run of it</Link>, after a look at it: every later change is tried on it.</p>
              <code className="block text-xs break-all">metamon golden add --app {alert.app} --from-run {alert.exemplar}</code>
            </Panel>
          )}
          <Panel title={count(alert.trace_urls.length, "trace")}>
            {alert.trace_urls.length === 0 ? <Empty title="No run was kept" /> : (
              <ul className="columns-1 gap-6 text-sm sm:columns-2">
                {alert.trace_urls.map((url, index) => (
                  <li key={url} className="mb-1 break-inside-avoid">
                    <TraceLink url={url}><code className="text-xs">{(alert.run_ids[index] ?? url.split("/").at(-1) ?? url).slice(0, 36)}</code></TraceLink>
                  </li>
                ))}
              </ul>
            )}
          </Panel>
        </div>
        <div className="min-w-0">
          <Panel title="Facts">
            <Facts columns={1} items={[
              ["Seen", <b key="seen">{value(alert.observed, unit)}</b>],
              ["Expected", alert.expected_low === null ? value(alert.expected, unit) : span(alert.expected_low, alert.expected_high, unit)],
              ...(open && alert.recovers_at !== null && alert.expected !== null
                ? [["Over when", `${alert.recovers_at > alert.expected ? "below" : "above"} ${value(alert.recovers_at, unit)} for ${count(Math.max(1, Math.round(alert.hold_s / 60)), "minute")}`] as [string, string]]
                : []),
              ["By chance", chance(alert.p_value)],
              ["Kind", words(alert.kind)],
              ["First bad", <Moment key="from" at={alert.window_start} precise />],
              ["Last bad", <Moment key="to" at={alert.window_end} precise />],
              ["Mailed", alert.emailed_at ? <Moment key="mail" at={alert.emailed_at} /> : "not yet"],
            ]} />
          </Panel>
          <Panel title="Life"><Life alert={alert} /></Panel>
          {alert.silences.length > 0 && (
            <Panel title="Silenced">
              {alert.silences.map((silence) => (
                <p key={silence.id} className="text-sm">until {moment(silence.ends_at, zone)} by {silence.author}: {silence.reason}</p>
              ))}
            </Panel>
          )}
        </div>
      </div>
      {muting && (
        <Confirm
          title="Silence this alert?" action="Silence" needsReason reason={reason} onReason={setReason}
          busy={mute.isPending} error={said(mute.error)} onClose={() => setMuting(false)} onConfirm={() => mute.mutate(undefined)}
          effect={
            <>
              <p>Nobody is mailed about {metricName(alert.metric).toLowerCase()} of {alert.app} meanwhile. It stays open here, and one mail says so if it still fires at the end.</p>
              <Choose value={hours} onChange={setHours} />
            </>
          }
        />
      )}
    </>
  );
}

function Choose({ value: now, onChange }: { value: string; onChange: (value: string) => void }) {
  return (
    <label className="flex items-center gap-2">For
      <select className="field" value={now} onChange={(event) => onChange(event.target.value)}>
        {HOURS.map(([each, name]) => <option key={each} value={each}>{name}</option>)}
      </select>
    </label>
  );
}
