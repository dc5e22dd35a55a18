import { $api, type Schemas } from "../api/client";
import { usePages } from "../api/pages";
import { count, metricName, number, pct, percent } from "../lib/format";
import { around, place, reading, ticks } from "../lib/scale";
import { Ago, Sign } from "../ui/basics";
import { IntervalBar } from "../ui/interval";
import { Head, HeadSkeleton, Panel } from "../ui/shell";
import { Empty, Failed, Loaded, Skeleton } from "../ui/states";
import { More, RowLink, Table } from "../ui/table";

type Calibration = Schemas["Calibration"];

/** Predicted across, measured up: on the diagonal a promise was kept. */
function CalibrationPlot({ data }: { data: Calibration }) {
  const points = data.points.filter((point) => point.measured_pct !== null);
  if (!points.length) return <Empty title="Nothing measured yet">A point appears when a hold-back has been compared.</Empty>;
  const scale = around(points.flatMap((point) => [point.predicted_pct, point.measured_pct, ...point.predicted_interval, ...(point.measured_interval ?? [])]));
  const size = 260;
  const x = (value: number) => (place(value, scale) / 100) * size;
  const y = (value: number) => size - x(value);
  return (
    <figure>
      <svg viewBox={`-34 -8 ${size + 46} ${size + 34}`} className="mx-auto block w-full max-w-sm" role="img" aria-label={`Calibration: ${points.map((point) => `${point.title}: predicted ${pct(point.predicted_pct)}, measured ${pct(point.measured_pct)}`).join("; ")}`}>
        <rect width={size} height={size} className="fill-transparent stroke-line" />
        {ticks(scale, 5).map((tick) => (
          <g key={tick} className="fill-muted text-[9px]">
            <line x1={x(tick)} x2={x(tick)} y1="0" y2={size} className="stroke-line" strokeWidth={tick === 0 ? 1.5 : 0.7} />
            <line y1={y(tick)} y2={y(tick)} x1="0" x2={size} className="stroke-line" strokeWidth={tick === 0 ? 1.5 : 0.7} />
            <text x={x(tick)} y={size + 12} textAnchor="middle">{pct(tick)}</text>
            <text x="-5" y={y(tick) + 3} textAnchor="end">{pct(tick)}</text>
          </g>
        ))}
        <line x1="0" y1={size} x2={size} y2="0" className="stroke-faint" strokeDasharray="4 3" />
        {points.map((point) => (
          <g key={point.proposal_id} className="stroke-accent">
            <line x1={x(point.predicted_interval[0]!)} x2={x(point.predicted_interval[1]!)} y1={y(point.measured_pct!)} y2={y(point.measured_pct!)} strokeWidth="1.3" opacity="0.6" />
            {point.measured_interval && <line x1={x(point.predicted_pct)} x2={x(point.predicted_pct)} y1={y(point.measured_interval[0]!)} y2={y(point.measured_interval[1]!)} strokeWidth="1.3" opacity="0.6" />}
            <circle cx={x(point.predicted_pct)} cy={y(point.measured_pct!)} r="4" className="fill-accent" stroke="none"><title>{point.title}: predicted {pct(point.predicted_pct)}, measured {pct(point.measured_pct)}</title></circle>
          </g>
        ))}
        <text x={size / 2} y={size + 24} textAnchor="middle" className="fill-muted text-[10px]">predicted</text>
        <text transform={`translate(-27 ${size / 2}) rotate(-90)`} textAnchor="middle" className="fill-muted text-[10px]">measured</text>
      </svg>
      <figcaption className="mt-2 text-center text-xs text-muted">
        Lines are 90 % and 95 % intervals; on the dashed diagonal a promise was kept.
      </figcaption>
    </figure>
  );
}

type Impact = Schemas["ImpactRecord"];

function worth(rows: Impact[]): { benefit: number; cost: number } {
  return rows.reduce((sum, row) => ({ benefit: sum.benefit + (row.benefit ?? 0), cost: sum.cost + (row.cost ?? 0) }), { benefit: 0, cost: 0 });
}

export function ImpactPage() {
  const query = usePages("/api/v1/impact");
  const calibration = $api.useQuery("get", "/api/v1/impact/calibration");
  const rows = query.items;
  const proven = rows?.filter((row) => row.significant && (row.measured_pct ?? 0) > 0) ?? [];
  const total = worth(rows ?? []);
  const scale = around(rows?.flatMap((row) => [...row.predicted_interval as number[], ...(row.measured_interval as number[] | null ?? []), row.measured_pct]) ?? []);
  return (
    <>
      {!rows && !query.isError ? <HeadSkeleton /> : (
        <Head
          title={!rows?.length ? "Nothing was measured yet" : `${proven.length} of ${count(rows.length, "change")} ${proven.length === 1 ? "is" : "are"} proven to be worth it`}
          tone={!rows?.length ? "quiet" : proven.length ? "ok" : "warn"}
        >
          What a change promised, against what the hold-back shows that it did.
        </Head>
      )}
      {!!rows?.length && (
        <dl className="panel mb-4 grid grid-cols-2 gap-px overflow-hidden bg-line sm:grid-cols-4">
          {([
            ["Benefit in all", `$${number(total.benefit, 0)}`],
            ["Cost in all", `$${number(total.cost, 0)}`],
            ["Promises kept", calibration.data ? percent(calibration.data.coverage) : "–"],
            ["Bias", calibration.data?.bias == null ? "–" : `${number(calibration.data.bias, 1, true)} pt`],
          ] as const).map(([name, value]) => (
            <div key={name} className="bg-surface p-4"><dt className="text-xs text-muted">{name}</dt><dd className="text-xl font-semibold">{value}</dd></div>
          ))}
        </dl>
      )}
      <div className="grid items-start gap-4 xl:grid-cols-[minmax(0,1fr)_22rem]">
        <Panel title="Predicted against measured" flush>
          {query.isError && !rows ? <Failed error={query.error} retry={() => void query.refetch()} /> : !rows ? <Skeleton lines={8} />
            : rows.length === 0 ? <Empty title="No impact yet">It is measured when a change is with everybody but its hold-back.</Empty> : (
              <>
                <Table
                  caption="Impact" rows={rows} id={(row) => row.id}
                  columns={[
                    { head: "Change", lead: true, cell: (row) => (
                      <>
                        <RowLink to="/proposals/$id" params={{ id: String(row.proposal_id) }}>{row.title}</RowLink>
                        <div className="text-xs text-muted">{row.app} · {metricName(row.metric)} · {row.method === "holdback" ? "against the hold-back" : "described, not proven"}</div>
                      </>
                    ) },
                    { head: "Predicted", num: true, cell: (row) => pct(row.predicted_pct) },
                    { head: "Measured", num: true, cell: (row) => <b className="font-medium">{pct(row.measured_pct)}</b> },
                    { head: <span className="sr-only">Intervals</span>, label: "Intervals", className: "w-40", cell: (row) => {
                      const interval = row.measured_interval as [number, number] | null;
                      return <IntervalBar scale={scale} low={interval?.[0]} high={interval?.[1]} value={row.measured_pct} mark={row.predicted_pct} says={reading(interval?.[0], interval?.[1])} label={`measured ${pct(row.measured_pct)}, predicted ${pct(row.predicted_pct)}`} />;
                    } },
                    { head: "Promise", cell: (row) => (
                      <span className="inline-flex items-center gap-1 text-xs whitespace-nowrap">
                        <Sign tone={row.within_prediction === null ? "quiet" : row.within_prediction ? "ok" : "warn"} size={13} />
                        {row.within_prediction === null ? "open" : row.within_prediction ? "kept" : "missed"}
                      </span>
                    ) },
                    { head: "ROI", num: true, cell: (row) => {
                      const interval = row.roi_interval as [number, number] | null;
                      return <>{row.roi === null ? "–" : `${number(row.roi, 1)} ×`}{interval && <div className="text-xs text-muted">{number(interval[0], 1)}–{number(interval[1], 1)}</div>}</>;
                    } },
                    { head: "Measured", label: "When", num: true, cell: (row) => <Ago at={row.window_end} /> },
                  ]}
                />
                <p className="border-t border-line px-4 py-2 text-xs text-muted">Bars: the measured effect with its 95 % interval; the diamond is what was predicted.</p>
                <More query={query} />
              </>
            )}
        </Panel>
        <Panel title="Calibration"><Loaded query={calibration} lines={8}>{(data) => <CalibrationPlot data={data} />}</Loaded></Panel>
      </div>
    </>
  );
}
