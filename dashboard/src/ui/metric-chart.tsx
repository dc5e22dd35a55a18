/** One metric of an app: asks for its series, then draws it. Keeps its room while it loads. */
import { lazy, Suspense, useMemo } from "react";
import { $api, type Schemas } from "../api/client";
import { count, metricName, value as written, words } from "../lib/format";
import type { ChartMark } from "./chart";

type Mark = Schemas["Mark"];
type Series = Schemas["Chart"];

export const LazyChart = lazy(() => import("./chart").then((module) => ({ default: module.Chart })));

const TONES: [RegExp, ChartMark["tone"]][] = [
  [/resolved|promoted|completed|implemented/, "ok"],
  [/alert|rolled|rollback/, "bad"],
  [/pause|deploy|config/, "warn"],
];

export function toMarks(marks: Mark[] | undefined): ChartMark[] {
  return (marks ?? []).map((mark) => ({
    at: mark.at,
    label: `${words(mark.kind)}: ${mark.label}`,
    tone: TONES.find(([pattern]) => pattern.test(mark.kind))?.[1] ?? "info",
  }));
}

/** Leave a gap where nothing was measured for long: a line across it would claim something. */
export function withGaps(series: Series): Series["points"] {
  const out: Series["points"] = [];
  let last = NaN;
  for (const point of series.points) {
    const at = Date.parse(point.at);
    if (at - last > series.step_s * 20_000) {
      out.push({ at: new Date(last + series.step_s * 1000).toISOString(), value: null, low: null, high: null, count: 0 });
    }
    out.push(point);
    last = at;
  }
  return out;
}

export function Room({ height }: { height: number }) {
  return <div style={{ height: height + 18 }} className="skeleton" role="status" aria-label="Loading the chart" />;
}

export function MetricChart({
  app, metric, since, until, height = 130, sync, extra = [],
}: { app: string; metric: string; since: string; until?: string; height?: number; sync?: string; extra?: ChartMark[] }) {
  const query = $api.useQuery(
    "get", "/api/v1/metrics/{app}",
    { params: { path: { app }, query: { metric, since, ...(until ? { until } : {}) } } },
    { placeholderData: (before: Series | undefined) => before },
  );
  const data = query.data;
  const points = useMemo(() => (data ? withGaps(data) : []), [data]);
  const marks = useMemo(() => [...toMarks(data?.marks), ...extra], [data, extra]);
  const drawn = useMemo(
    () => ({
      times: points.map((point) => Date.parse(point.at)),
      lines: [{ name: metricName(metric), values: points.map((point) => point.value), tone: "accent" as const }],
      band: points.some((point) => point.low !== null)
        ? { low: points.map((point) => point.low), high: points.map((point) => point.high) }
        : undefined,
    }),
    [points, metric],
  );
  if (query.isError && !data) {
    return <p style={{ height: height + 18 }} className="grid place-items-center text-sm text-muted">This series could not be loaded.</p>;
  }
  if (!data) return <Room height={height} />;
  if (!points.length) {
    return <p style={{ height: height + 18 }} className="grid place-items-center text-sm text-muted">Nothing was measured in this time.</p>;
  }
  const last = points.at(-1)!;
  const label = `${metricName(metric)} over time, ${count(points.length, "point")}; last ${written(last.value, data.unit)}${
    last.low !== null ? `, expected ${written(last.low, data.unit)} to ${written(last.high, data.unit)}` : ""
  }${marks.length ? `; ${marks.map((mark) => mark.label).slice(0, 8).join(", ")}` : ""}.`;
  return (
    <Suspense fallback={<Room height={height} />}>
      <LazyChart {...drawn} marks={marks} unit={data.unit} height={height} label={label} {...(sync ? { sync } : {})} />
    </Suspense>
  );
}
