/** Where values lie on a bar: the arithmetic of interval bars and axes, without a drawing. */

export interface Scale {
  low: number;
  high: number;
}

/** A range that holds all values and zero, a little wider than they are; never empty. */
export function around(values: (number | null | undefined)[], zero = true): Scale {
  const real = values.filter((each): each is number => typeof each === "number" && Number.isFinite(each));
  if (zero) real.push(0);
  if (!real.length) return { low: 0, high: 1 };
  let low = Math.min(...real);
  let high = Math.max(...real);
  if (low === high) {
    const room = Math.abs(low) || 1;
    low -= room / 2;
    high += room / 2;
  }
  const room = (high - low) * 0.06;
  return { low: low - room, high: high + room };
}

/** Position in percent, held inside the bar. */
export function place(value: number, scale: Scale): number {
  const share = (value - scale.low) / (scale.high - scale.low);
  return Math.round(Math.min(1, Math.max(0, share)) * 10_000) / 100;
}

export type Reading = "better" | "worse" | "unclear";

/** What an interval says: it tells better from worse only where it leaves zero out. */
export function reading(low: number | null | undefined, high: number | null | undefined, lowerIsBetter = false): Reading {
  if (low == null || high == null) return "unclear";
  if (low > 0) return lowerIsBetter ? "worse" : "better";
  if (high < 0) return lowerIsBetter ? "better" : "worse";
  return "unclear";
}

/** Round steps for an axis: at most `most` of them. */
export function ticks(scale: Scale, most = 5): number[] {
  const span = scale.high - scale.low;
  const rough = span / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => span / each <= most) ?? power * 10;
  const found: number[] = [];
  for (let at = Math.ceil(scale.low / step) * step; at <= scale.high + step * 1e-9; at += step) {
    found.push(Math.round(at / step) * step || 0);
  }
  return found;
}
