import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { Problem, problemOf } from "../api/client";
import { cut, duration } from "../lib/format";
import { Chip, Facts, Moment, State, toneOf } from "../ui/basics";
import { Head, HeadSkeleton, Panel } from "../ui/shell";
import { Failed, Skeleton } from "../ui/states";

interface Run {
  id: string; name?: string | null; run_type?: string | null; status?: string | null; start_time?: string | null; end_time?: string | null;
  error?: string | null; inputs?: unknown; outputs?: unknown; tags?: string[] | null;
  extra?: { metadata?: Record<string, unknown> } | null; total_tokens?: number | null; total_cost?: number | string | null;
}

/** A trace can have megabytes: this much of a payload is shown. */
const SHOWN = 20_000;

function Payload({ value }: { value: unknown }) {
  if (value == null || (typeof value === "object" && Object.keys(value).length === 0)) return <p className="text-sm text-muted">Empty.</p>;
  return <pre className="max-h-96 overflow-auto text-xs break-words whitespace-pre-wrap" tabIndex={0}>{cut(typeof value === "string" ? value : JSON.stringify(value, null, 2), SHOWN)}</pre>;
}

export function TracePage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const query = useQuery({
    queryKey: ["get", "/api/v1/runs", id],
    staleTime: 60_000,
    queryFn: async ({ signal }): Promise<Run> => {
      const response = await fetch(`/api/v1/runs/${encodeURIComponent(id)}`, { signal, credentials: "same-origin" }).catch(() => {
        throw new Problem(0, "the API does not answer");
      });
      if (!response.ok) throw await problemOf(response);
      return (await response.json()) as Run;
    },
  });
  const run = query.data;
  if (!run) return query.isError ? <><Head title="Trace" /><Failed error={query.error} retry={() => void query.refetch()} /></> : <><HeadSkeleton /><div className="panel"><Skeleton lines={12} /></div></>;
  const took = run.start_time && run.end_time ? (Date.parse(run.end_time) - Date.parse(run.start_time)) / 1000 : null;
  const status = run.status ?? "pending";
  return (
    <>
      <Head title={`${run.name ?? "Run"} ${status === "error" ? "failed" : status === "success" ? "answered" : "has not ended"}${took !== null ? ` after ${duration(took)}` : ""}`} tone={status === "error" ? "bad" : toneOf(status)}>
        <span className="inline-flex flex-wrap items-center gap-2"><State of={status} /><code className="text-xs break-all">{run.id}</code></span>
      </Head>
      <div className="grid items-start gap-4 lg:grid-cols-[minmax(0,1fr)_20rem]">
        <div className="min-w-0">
          {run.error && <Panel title="Error"><Payload value={run.error} /></Panel>}
          <Panel title="Asked"><Payload value={run.inputs} /></Panel>
          <Panel title="Answered"><Payload value={run.outputs} /></Panel>
        </div>
        <div className="min-w-0">
          <Panel title="Facts">
            <Facts columns={1} items={[
              ["Started", <Moment key="start" at={run.start_time} precise />], ["Took", duration(took)], ["Type", run.run_type ?? "–"],
              ["Tokens", run.total_tokens ?? "–"], ["Cost", run.total_cost != null ? `$${run.total_cost}` : "–"],
            ]} />
          </Panel>
          <Panel title="Attributes">
            <div className="flex flex-wrap gap-1">
              {Object.entries(run.extra?.metadata ?? {}).map(([key, value]) => <Chip key={key}>{key} = {cut(typeof value === "string" ? value : JSON.stringify(value), 80)}</Chip>)}
              {run.tags?.map((tag) => <Chip key={tag}>{cut(tag, 80)}</Chip>)}
            </div>
          </Panel>
        </div>
      </div>
    </>
  );
}
