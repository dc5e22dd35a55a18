/** A side-by-side diff: lines matched by their longest common subsequence, and the words that differ within a line. */

export interface Piece {
  text: string;
  changed: boolean;
}

export interface Row {
  kind: "same" | "changed" | "added" | "removed";
  left: Piece[] | null;
  right: Piece[] | null;
  leftLine: number | null;
  rightLine: number | null;
}

/** Above this the comparison would take longer than a reader waits: the rest is shown as replaced. */
export const LINES_CAP = 1500;

function matches<T>(a: T[], b: T[]): [number, number][] {
  const rows = a.length + 1;
  const columns = b.length + 1;
  const lengths = new Uint16Array(rows * columns);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      lengths[i * columns + j] =
        a[i] === b[j]
          ? lengths[(i + 1) * columns + j + 1]! + 1
          : Math.max(lengths[(i + 1) * columns + j]!, lengths[i * columns + j + 1]!);
    }
  }
  const found: [number, number][] = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) found.push([i++, j++]);
    else if (lengths[(i + 1) * columns + j]! >= lengths[i * columns + j + 1]!) i++;
    else j++;
  }
  return found;
}

function pieces(words: string[], kept: Set<number>): Piece[] {
  const out: Piece[] = [];
  words.forEach((text, index) => {
    const changed = !kept.has(index);
    const last = out.at(-1);
    if (last && last.changed === changed) last.text += text;
    else out.push({ text, changed });
  });
  return out;
}

/** The parts of two lines that differ. */
export function inline(left: string, right: string): [Piece[], Piece[]] {
  const a = left.split(/(\s+|[^\w\s])/u).filter(Boolean).slice(0, 400);
  const b = right.split(/(\s+|[^\w\s])/u).filter(Boolean).slice(0, 400);
  const pairs = matches(a, b);
  return [pieces(a, new Set(pairs.map(([i]) => i))), pieces(b, new Set(pairs.map(([, j]) => j)))];
}

const whole = (text: string, changed: boolean): Piece[] => [{ text, changed }];

/** Rows of a side-by-side view of two texts. */
export function sideBySide(before: string, after: string): Row[] {
  const a = before === "" ? [] : before.split("\n");
  const b = after === "" ? [] : after.split("\n");
  const rows: Row[] = [];
  let i = 0;
  let j = 0;
  const flush = (untilLeft: number, untilRight: number) => {
    while (i < untilLeft || j < untilRight) {
      const left = i < untilLeft ? a[i]! : null;
      const right = j < untilRight ? b[j]! : null;
      const [shownLeft, shownRight] = left !== null && right !== null ? inline(left, right) : [null, null];
      rows.push({
        kind: left === null ? "added" : right === null ? "removed" : "changed",
        left: left === null ? null : (shownLeft ?? whole(left, false)),
        right: right === null ? null : (shownRight ?? whole(right, false)),
        leftLine: left === null ? null : ++i,
        rightLine: right === null ? null : ++j,
      });
    }
  };
  const pairs = matches(a.slice(0, LINES_CAP), b.slice(0, LINES_CAP));
  for (const [left, right] of pairs) {
    flush(left, right);
    rows.push({ kind: "same", left: whole(a[left]!, false), right: whole(b[right]!, false), leftLine: ++i, rightLine: ++j });
  }
  flush(a.length, b.length);
  return rows;
}

/** How a configuration value is written: text as it is, the rest as JSON. */
export function asText(value: unknown): string {
  if (value === undefined || value === null) return "";
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}
