/** A metric over time with its expected band and what happened meanwhile. Loaded only where a chart is drawn. */
import { useEffect, useMemo, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useUser } from "../api/session";
import { moment, span, value as written } from "../lib/format";

export interface ChartMark {
  at: string;
  label: string;
  tone: "bad" | "ok" | "info" | "warn";
}
export interface Line {
  name: string;
  values: (number | null)[];
  tone: "accent" | "ok" | "bad" | "warn" | "muted";
  dash?: boolean;
  /** Without a mark in the legend's readout. */
  quiet?: boolean;
}

const VARIABLE = { accent: "--accent", ok: "--ok", bad: "--bad", warn: "--warn", muted: "--faint", info: "--accent" };

/** Canvas knows no variables: ask the browser what a token is now, in light or in dark. */
function colour(variable: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(${variable})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** Changes when light turns to dark. */
function useTheme(): number {
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    const again = () => setTurn((before) => before + 1);
    const media = matchMedia("(prefers-color-scheme: dark)");
    media.addEventListener("change", again);
    const observer = new MutationObserver(again);
    observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => {
      media.removeEventListener("change", again);
      observer.disconnect();
    };
  }, []);
  return turn;
}

export function Chart({
  times, lines, band, marks = [], rules = [], unit, height = 150, label, sync, range, log = false,
}: {
  /** Milliseconds. */
  times: number[];
  lines: Line[];
  band?: { low: (number | null)[]; high: (number | null)[] };
  marks?: ChartMark[];
  rules?: { at: number; label: string; tone: "bad" | "ok" | "warn" }[];
  unit: string;
  height?: number;
  /** What a reader who sees no picture is told. */
  label: string;
  sync?: string;
  range?: [number, number];
  log?: boolean;
}) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [at, setAt] = useState<number | null>(null);
  const { zone } = useUser();
  const theme = useTheme();
  const data = useMemo<uPlot.AlignedData>(() => {
    const rows: (number | null)[][] = lines.map((line) => line.values);
    if (band) rows.push(band.high, band.low);
    return [times.map((time) => time / 1000), ...rows] as uPlot.AlignedData;
  }, [times, lines, band]);
  const shape = lines.map((line) => line.name + line.tone).join("|") + String(!!band) + unit + height + String(log);
  const latest = useRef({ marks, rules, range });
  latest.current = { marks, rules, range };

  useEffect(() => {
    const host = box.current!;
    const faint = colour("--muted");
    const grid = { stroke: colour("--line"), width: 1 };
    const font = `11px ${getComputedStyle(host).fontFamily}`;
    const format = (x: number) => (log ? x.toPrecision(2) : written(x, unit));
    const options: uPlot.Options = {
      width: Math.max(120, host.clientWidth),
      height,
      padding: [14, 20, 0, 0],
      legend: { show: false },
      cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false }, ...(sync ? { sync: { key: sync } } : {}) },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone ?? Intl.DateTimeFormat().resolvedOptions().timeZone),
      scales: {
        y: {
          range: (_, low, high) => {
            const wanted = latest.current.range;
            if (wanted) return wanted;
            const marked = latest.current.rules.map((rule) => rule.at);
            let from = Math.min(low ?? 0, ...marked);
            let to = Math.max(high ?? 1, ...marked);
            if (from === to) [from, to] = [from - (Math.abs(from) || 1) * 0.1, to + (Math.abs(to) || 1) * 0.1];
            const room = (to - from) * 0.08;
            const bottom = from >= 0 && from - room < 0 ? 0 : from - room;
            const top = (unit === "fraction" || unit === "score") && to <= 1 && to + room > 1 ? 1 + room / 4 : to + room;
            return [bottom, top];
          },
        },
      },
      axes: [
        {
          stroke: faint, font, grid: { show: false }, ticks: { show: false }, size: 22, space: 70,
          values: [
            [86400 * 28, "{MMM}", null, null, null, null, null, null, 1],
            [86400, "{D} {MMM}", null, null, null, null, null, null, 1],
            [60, "{HH}:{mm}", "\n{D} {MMM}", null, null, null, null, null, 0],
            [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1],
          ],
        },
        {
          stroke: faint, font, grid, ticks: { show: false }, space: 26,
          values: (_, splits) => splits.map(format),
          size: (_, values) => 14 + Math.max(...(values ?? [""]).map((text) => String(text).length)) * 6.2,
        },
      ],
      series: [
        {},
        ...lines.map((line) => ({
          label: line.name, stroke: colour(VARIABLE[line.tone]), width: 1.6, points: { show: false },
          ...(line.dash ? { dash: [4, 3] } : {}), spanGaps: false,
        })),
        ...(band ? [{ stroke: "transparent", points: { show: false } }, { stroke: "transparent", points: { show: false } }] : []),
      ],
      bands: band ? [{ series: [lines.length + 1, lines.length + 2], fill: colour("--band") }] : [],
      hooks: {
        draw: [
          (self) => {
            const { ctx, bbox } = self;
            const ratio = devicePixelRatio;
            ctx.save();
            ctx.lineWidth = ratio;
            for (const rule of latest.current.rules) {
              const y = self.valToPos(rule.at, "y", true);
              ctx.strokeStyle = ctx.fillStyle = colour(VARIABLE[rule.tone]);
              ctx.setLineDash([5 * ratio, 4 * ratio]);
              ctx.beginPath();
              ctx.moveTo(bbox.left, y);
              ctx.lineTo(bbox.left + bbox.width, y);
              ctx.stroke();
              ctx.font = `${10.5 * ratio}px ${getComputedStyle(host).fontFamily}`;
              ctx.textAlign = "right";
              ctx.fillText(rule.label, bbox.left + bbox.width - 3 * ratio, y + (rule.tone === "ok" ? 12 : -4) * ratio);
            }
            for (const mark of latest.current.marks) {
              const x = self.valToPos(Date.parse(mark.at) / 1000, "x", true);
              if (x < bbox.left || x > bbox.left + bbox.width) continue;
              ctx.strokeStyle = ctx.fillStyle = colour(VARIABLE[mark.tone]);
              ctx.setLineDash([2 * ratio, 3 * ratio]);
              ctx.beginPath();
              ctx.moveTo(x, bbox.top);
              ctx.lineTo(x, bbox.top + bbox.height);
              ctx.stroke();
              // A shape for each kind, so that colour is not all that tells them apart.
              ctx.setLineDash([]);
              const top = bbox.top - 2 * ratio;
              const r = 4 * ratio;
              ctx.beginPath();
              if (mark.tone === "bad") {
                ctx.moveTo(x - r, top - 2 * r);
                ctx.lineTo(x + r, top - 2 * r);
                ctx.lineTo(x, top);
              } else if (mark.tone === "ok") {
                ctx.arc(x, top - r, r * 0.9, 0, 7);
              } else {
                ctx.moveTo(x, top - 2 * r);
                ctx.lineTo(x + r, top - r);
                ctx.lineTo(x, top);
                ctx.lineTo(x - r, top - r);
              }
              ctx.fill();
            }
            ctx.restore();
          },
        ],
        setCursor: [(self) => setAt(self.cursor.idx ?? null)],
      },
    };
    plot.current = new uPlot(options, data, host);
    const observer = new ResizeObserver(() => {
      if (host.clientWidth && plot.current) plot.current.setSize({ width: host.clientWidth, height });
    });
    observer.observe(host);
    return () => {
      observer.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
    // The data are set below, without drawing everything anew.
  }, [shape, theme, zone, sync]); // eslint-disable-line

  useEffect(() => plot.current?.setData(data), [data, marks, rules]);

  const index = at !== null && at < times.length ? at : null;
  const near = index === null ? [] : marks.filter((mark) => {
    const step = times.length > 1 ? (times.at(-1)! - times[0]!) / Math.max(1, times.length - 1) : 60_000;
    return Math.abs(Date.parse(mark.at) - times[index]!) < Math.max(step, (times.at(-1)! - times[0]!) / 80);
  });
  return (
    <figure className="m-0">
      <div ref={box} role="img" aria-label={label} style={{ height }} data-points={times.length} />
      <figcaption className="flex min-h-4.5 flex-wrap gap-x-3 overflow-hidden px-1 text-2xs leading-4.5 text-muted" aria-hidden="true">
        {index === null ? null : (
          <>
            <span>{moment(new Date(times[index]!).toISOString(), zone, true)}</span>
            {lines.filter((line) => !line.quiet).map((line) => (
              <span key={line.name}>
                {lines.length > 1 && `${line.name} `}
                <b className="font-semibold text-text">{log ? (line.values[index]?.toFixed(2) ?? "–") : written(line.values[index], unit)}</b>
              </span>
            ))}
            {band && band.low[index] != null && (
              <span>expected {span(band.low[index], band.high[index], unit)}</span>
            )}
            {near.slice(0, 2).map((mark) => <span key={mark.at + mark.label} className="truncate">{mark.label}</span>)}
          </>
        )}
      </figcaption>
    </figure>
  );
}
