import { describe, expect, it } from "vitest";
import { inline, LINES_CAP, sideBySide } from "./diff";
import { ago, chance, conditions, duration, number, pct, percent, points, span, value } from "./format";
import { around, place, reading, ticks } from "./scale";

describe("numbers", () => {
  it("show a dash for what is unknown, never NaN", () => {
    for (const write of [number, percent, pct, points, duration, chance]) expect(write(null)).toBe("–");
    expect(percent(NaN)).toBe("–");
    expect(value(undefined, "USD")).toBe("–");
  });
  it("keep the decimals that tell a share from 0 and from 100", () => {
    expect(percent(0.985)).toBe("98.5 %");
    expect(percent(0.9998)).toBe("99.98 %");
    expect(percent(1)).toBe("100 %");
    expect(percent(0.0019)).toBe("0.19 %");
  });
  it("carry a real minus and a plus where asked", () => {
    expect(points(-0.4)).toBe("−40 pt");
    expect(pct(12.59)).toBe("+12.6 %");
    expect(pct(0)).toBe("0 %");
    expect(number(-0.001, 2)).toBe("0");
  });
  it("say durations as people do", () => {
    expect([0.102, 4.23, 75, 600, 7200, 172_800].map(duration)).toEqual(["102 ms", "4.2 s", "75 s", "10 min", "2 h", "2 d"]);
  });
  it("say the unit of a span once", () => {
    expect(span(0.976, 1, "fraction")).toBe("97.6–100 %");
    expect(span(0.084, 0.152, "s")).toBe("84–152 ms");
    expect(span(0.9, 1.2, "s")).toBe("900 ms–1.2 s");
  });
  it("survive a clock an hour off", () => {
    const now = Date.parse("2026-11-26T12:00:00Z");
    expect(ago("2026-11-26T13:00:00Z", now)).toBe("in 60 min");
    expect(ago("2026-11-26T11:58:00Z", now)).toBe("2 min ago");
    expect(ago("no date", now)).toBe("–");
  });
  it("name everybody where there is no condition", () => {
    expect(conditions({})).toBe("all runs");
    expect(conditions({ region: "emea", model: "sonic-2" })).toBe("region = emea and model = sonic-2");
  });
});

describe("interval bars", () => {
  it("hold zero and every value", () => {
    const scale = around([6.2, 12.6, 19.6]);
    expect(scale.low).toBeLessThan(0);
    expect(place(19.6, scale)).toBeLessThan(100);
    expect(place(-1e9, scale)).toBe(0);
  });
  it("are never empty", () => {
    for (const values of [[], [null], [3], [0]]) {
      const scale = around(values);
      expect(scale.high).toBeGreaterThan(scale.low);
    }
  });
  it("tell better from worse only where zero is left out", () => {
    expect(reading(0.01, 0.2)).toBe("better");
    expect(reading(-0.5, -0.3)).toBe("worse");
    expect(reading(-0.1, 0.2)).toBe("unclear");
    expect(reading(62, 127, true)).toBe("worse");
    expect(reading(null, 1)).toBe("unclear");
  });
  it("get few round ticks", () => {
    expect(ticks({ low: -3, high: 41 }, 5)).toEqual([0, 10, 20, 30, 40]);
  });
});

describe("the diff", () => {
  it("sets a changed line beside the one it was", () => {
    const rows = sideBySide("a: 1\nb: 2\nc: 3", "a: 1\nb: 4\nc: 3");
    expect(rows.map((row) => row.kind)).toEqual(["same", "changed", "same"]);
    expect(rows[1]!.left!.find((piece) => piece.changed)!.text).toBe("2");
    expect(rows[1]!.right!.find((piece) => piece.changed)!.text).toBe("4");
  });
  it("loses no line on either side", () => {
    const before = "one\ntwo\nthree\nfour";
    const after = "zero\none\nthree\nfour\nfive";
    const rows = sideBySide(before, after);
    const join = (side: "left" | "right") => rows.filter((row) => row[side]).map((row) => row[side]!.map((piece) => piece.text).join("")).join("\n");
    expect(join("left")).toBe(before);
    expect(join("right")).toBe(after);
  });
  it("puts words back together as they were", () => {
    const [left, right] = inline("Revert index.emea to 2026-10", "Revert index.apac to 2026-10");
    expect(left.map((piece) => piece.text).join("")).toBe("Revert index.emea to 2026-10");
    expect(right.filter((piece) => piece.changed).map((piece) => piece.text)).toEqual(["apac"]);
  });
  it("ends also for texts without end", () => {
    const long = Array.from({ length: LINES_CAP * 2 }, (_, index) => `line ${index}`).join("\n");
    expect(sideBySide(long, `${long}\nmore`)).toHaveLength(LINES_CAP * 2 + 1);
  });
});
