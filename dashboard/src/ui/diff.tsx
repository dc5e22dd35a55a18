/** Before and after, side by side; on a phone one above the other. */
import { useMemo } from "react";
import { asText, type Piece, sideBySide } from "../lib/diff";

function Line({ pieces, sign, line, tone }: { pieces: Piece[] | null; sign: string; line: number | null; tone: "bad" | "ok" | "" }) {
  const ground = tone === "bad" ? "bg-bad-soft" : tone === "ok" ? "bg-ok-soft" : pieces ? "" : "bg-sunken";
  const strong = tone === "bad" ? "bg-bad/20 text-text" : "bg-ok/20 text-text";
  return (
    <div className={`flex min-h-6 font-mono text-xs leading-6 ${ground}`}>
      <span aria-hidden="true" className="w-9 shrink-0 pe-2 text-end text-faint select-none">{line}</span>
      <span aria-hidden="true" className={`w-4 shrink-0 select-none ${tone === "bad" ? "text-bad" : "text-ok"}`}>{tone ? sign : ""}</span>
      <span className="min-w-0 flex-1 pe-2 break-words whitespace-pre-wrap">
        {pieces?.map((piece, index) =>
          piece.changed ? <mark key={index} className={`rounded-xs ${strong}`}>{piece.text}</mark> : piece.text,
        )}
      </span>
    </div>
  );
}

export function Diff({ before, after, names = ["Now", "Proposed"] }: { before: string; after: string; names?: [string, string] }) {
  const rows = useMemo(() => sideBySide(before, after), [before, after]);
  return (
    <div className="grid overflow-hidden rounded-md border border-line sm:grid-cols-2" data-testid="diff">
      {(["left", "right"] as const).map((side, index) => (
        <section key={side} aria-label={names[index]} className={index ? "max-sm:border-t sm:border-s border-line" : ""}>
          <h3 className="border-b border-line bg-sunken px-3 py-1 text-xs text-muted">{names[index]}</h3>
          <div className="max-h-96 overflow-y-auto py-1">
            {rows.map((row, at) => {
              const pieces = row[side];
              const tone = row.kind === "same" || !pieces ? "" : side === "left" ? "bad" : "ok";
              return (
                <Line
                  key={at} pieces={pieces} tone={tone} sign={side === "left" ? "−" : "+"}
                  line={side === "left" ? row.leftLine : row.rightLine}
                />
              );
            })}
          </div>
        </section>
      ))}
    </div>
  );
}

/** A configuration as sorted lines, so that one changed key stands among its neighbours. */
export function configText(config: Record<string, unknown>, around: string[] = [], context = 3): string {
  const keys = Object.keys(config).sort();
  const wanted = new Set<number>();
  keys.forEach((key, index) => {
    if (!around.length || around.includes(key)) for (let i = index - context; i <= index + context; i++) wanted.add(i);
  });
  return keys
    .filter((_, index) => wanted.has(index))
    .map((key) => `${key}: ${typeof config[key] === "string" && String(config[key]).includes("\n") ? `|\n${asText(config[key])}` : JSON.stringify(config[key])}`)
    .join("\n");
}
