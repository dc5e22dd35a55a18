/** How numbers, times and names are written. One place, so that every page says the same in the same words. */

const MINUS = "−";

/** What cannot be shown is a dash, never "NaN" or "null". */
export const NOTHING = "–";

function signed(text: string, positive: boolean, plus: boolean): string {
  const real = text.replace("-", MINUS);
  return plus && positive && !/^[0.,\s%]*$/.test(real) ? `+${real}` : real;
}

function known(value: number | null | undefined): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

/** A number with at most so many decimals: 1,147 or 0.33. */
export function number(value: number | null | undefined, decimals = 2, plus = false): string {
  if (!known(value)) return NOTHING;
  const text = value.toLocaleString("en-US", { maximumFractionDigits: decimals });
  return signed(text === "-0" ? "0" : text, value > 0, plus);
}

/** A fraction as percent, with as many decimals as tell it from 0 and from 100: 98.5 %, 99.98 %. */
export function percent(fraction: number | null | undefined, plus = false): string {
  if (!known(fraction)) return NOTHING;
  const hundred = fraction * 100;
  const away = Math.min(Math.abs(hundred), Math.abs(100 - Math.abs(hundred)));
  const decimals = away === 0 ? 0 : away < 1 ? 2 : 1;
  return `${number(hundred, decimals, plus)} %`;
}

/** A value that is percent already: predicted and measured effects. */
export function pct(value: number | null | undefined, plus = true): string {
  return known(value) ? `${number(value, Math.abs(value) >= 100 ? 0 : 1, plus)} %` : NOTHING;
}

/** A difference of two fractions, in points. */
export function points(delta: number | null | undefined): string {
  return known(delta) ? `${number(delta * 100, 1, true)} pt` : NOTHING;
}

/** Seconds as a person says them: 102 ms, 4.2 s, 3 min, 2 h, 5 d. */
export function duration(seconds: number | null | undefined): string {
  if (!known(seconds)) return NOTHING;
  const s = Math.abs(seconds);
  if (s < 1) return `${number(seconds * 1000, s < 0.01 ? 1 : 0)} ms`;
  if (s < 10) return `${number(seconds, 1)} s`;
  if (s < 90) return `${number(seconds, 0)} s`;
  if (s < 90 * 60) return `${number(seconds / 60, 0)} min`;
  if (s < 36 * 3600) return `${number(seconds / 3600, s < 10 * 3600 ? 1 : 0)} h`;
  return `${number(seconds / 86400, 0)} d`;
}

/** How long ago, or in how long. */
export function ago(at: string | null | undefined, now: number): string {
  if (!at) return NOTHING;
  const seconds = (now - Date.parse(at)) / 1000;
  if (!Number.isFinite(seconds)) return NOTHING;
  if (Math.abs(seconds) < 5) return "just now";
  return seconds > 0 ? `${duration(Math.floor(seconds))} ago` : `in ${duration(Math.ceil(-seconds))}`;
}

/** A moment in the reader's zone: 26 Nov, 03:53:10. */
export function moment(at: string | null | undefined, zone?: string, precise = false): string {
  if (!at) return NOTHING;
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return NOTHING;
  return new Intl.DateTimeFormat("en-GB", {
    day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
    ...(precise ? { second: "2-digit" } : {}),
    ...(zone ? { timeZone: zone } : {}),
  }).format(date);
}

export type Unit = "fraction" | "s" | "ms" | "runs" | "tokens" | "USD" | "score" | (string & {});

/** A metric's value in its unit. */
export function value(amount: number | null | undefined, unit: Unit): string {
  if (!known(amount)) return NOTHING;
  switch (unit) {
    case "fraction":
    case "score":
      return Math.abs(amount) <= 1 ? percent(amount) : number(amount, 2);
    case "s":
      return duration(amount);
    case "ms":
      return duration(amount / 1000);
    case "USD":
      return `$${number(amount, Math.abs(amount) < 1 ? 4 : 2)}`;
    default:
      return number(amount, Math.abs(amount) < 10 ? 1 : 0);
  }
}

/** Two values in their unit, the unit said once: 97.6–100 %. */
export function span(low: number | null | undefined, high: number | null | undefined, unit: Unit): string {
  const [from, to] = [value(low, unit), value(high, unit)];
  const tail = / ?(%|ms|s|min|h|d)$/;
  const same = tail.exec(from)?.[0] !== undefined && tail.exec(from)?.[0] === tail.exec(to)?.[0];
  return `${same ? from.replace(tail, "") : from}–${to}`;
}

/** A chance: below a thousandth only its order counts. */
export function chance(p: number | null | undefined): string {
  if (!known(p)) return NOTHING;
  if (p < 1e-12) return "< 10⁻¹²";
  if (p < 0.001) return "< 0.001";
  return number(p, 3);
}

const NAMES: Record<string, string> = {
  error_rate: "Error rate", sla_compliance: "Within SLA", latency_p50: "Latency p50", latency_p95: "Latency p95",
  latency_p99: "Latency p99", latency_ms: "Latency", volume: "Volume", tokens: "Tokens", cost: "Cost", tokens_per_run: "Tokens per run", cost_per_run: "Cost per run",
  error_free: "Error-free", sla_met: "SLA met", fact_accuracy: "Fact accuracy", guardrail_pass: "Guardrail pass",
  quality_score: "Quality", guardrail_pass_rate: "Guardrail pass", latency_p95_s: "Latency p95",
};

/** The name of a metric for people. */
export function metricName(metric: string): string {
  return NAMES[metric] ?? words(metric);
}

/** `awaiting_approval` → `Awaiting approval`. */
export function words(code: string): string {
  const text = code.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** "1 alert", "3 alerts". */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${number(n, 0)} ${n === 1 ? one : many}`;
}

/** `{region: emea}` → `region = emea`; nothing is everybody. */
export function conditions(found: unknown): string {
  const entries = found && typeof found === "object" ? Object.entries(found as Record<string, unknown>) : [];
  return entries.length ? entries.map(([key, each]) => `${key} = ${String(each)}`).join(" and ") : "all runs";
}

/** Text from traces and models can be endless: what is shown is not. */
export function cut(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}
