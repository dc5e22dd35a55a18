/** Intervals as bars: a line from low to high, a mark at the estimate, a rule at zero and at the margin. */
import { place, type Reading, type Scale } from "../lib/scale";

const STROKE: Record<Reading, string> = { better: "stroke-ok", worse: "stroke-bad", unclear: "stroke-faint" };
const FILL: Record<Reading, string> = { better: "fill-ok", worse: "fill-bad", unclear: "fill-faint" };

export function IntervalBar({
  low, high, value, scale, says, margin, label, mark,
}: {
  low: number | null | undefined;
  high: number | null | undefined;
  value: number | null | undefined;
  scale: Scale;
  says: Reading;
  /** Where "too much worse" begins. */
  margin?: number;
  /** A second estimate, as a hollow diamond. */
  mark?: number | null;
  label: string;
}) {
  const at = (x: number) => `${place(x, scale)}%`;
  return (
    <svg role="img" aria-label={label} className="block h-5 w-full min-w-28 overflow-visible" preserveAspectRatio="none">
      <title>{label}</title>
      <line x1="0" x2="100%" y1="10" y2="10" className="stroke-line" />
      <line x1={at(0)} x2={at(0)} y1="2" y2="18" className="stroke-line-strong" />
      {margin !== undefined && (
        <line x1={at(margin)} x2={at(margin)} y1="2" y2="18" className="stroke-bad" strokeDasharray="2 2" />
      )}
      {low != null && high != null && (
        <line x1={at(low)} x2={at(high)} y1="10" y2="10" strokeWidth="5" strokeLinecap="round" className={`${STROKE[says]} opacity-40`} />
      )}
      {mark != null && (
        <svg x={at(mark)} y="10" className="overflow-visible">
          <path d="M0-5 5 0 0 5-5 0Z" className="fill-surface stroke-text" strokeWidth="1.3" />
        </svg>
      )}
      {value != null && <circle cx={at(value)} cy="10" r="4" className={FILL[says]} />}
    </svg>
  );
}
