/* ABC in leaves of some bars each, so that a long tune is drawn where it is looked at, and drawn anew where it grows. */
(() => {
  "use strict";
  const music = window.rwkvMusic;
  if (music.abc) return;

  // Lines of a leaf; so long a tune is not yet worth cutting.
  const LINES = 8, ENOUGH = 1.5;
  const FIELD = /^[A-Za-z]:/;
  // What stands in a line of music: text and marks to pass over, a field, a bar line, a note or rest.
  const THINGS = /"[^"]*"|![^!]*!|%.*|\[([A-Za-z]):([^\]]*)\]|(:*(?:\|+|\[\|)[:\]]*|::)|([A-Ga-gxzXZ])/g;

  /* The tune cut after bars: of each leaf its text, from where to where in the whole it reaches, and its bars before. */
  function cut(abc, bars) {
    const lines = abc.split("\n"), key = lines.findIndex((line) => line.startsWith("K:"));
    const whole = [{ from: 0, to: abc.length, first: 0, text: abc, shift: 0, last: true }];
    // Voices that alternate line by line cannot be cut by bars.
    if (key < 0 || lines.filter((line) => line.startsWith("V:")).length > 1 || abc.includes("[V:")) return whole;
    const header = lines.slice(0, key + 1).join("\n").length + 1;
    const told = new Map(lines.slice(0, key + 1).filter((line) => FIELD.test(line)).map((line) => [line[0], line.slice(2).trim()]));
    const sung = lines.some((line, nth) => nth > key && /^[ws]:/.test(line));
    const cuts = [{ from: 0, first: 0, told: new Map(told) }];
    let count = 0, at = header, filled = false;
    const mark = (from) => cuts.push({ from, first: count, told: new Map(told) });
    const due = () => count - cuts.at(-1).first >= bars;
    for (const line of lines.slice(key + 1)) {
      if (FIELD.test(line)) told.set(line[0], line.slice(2).trim());
      else if (!line.startsWith("%")) {
        // Where words are sung, they stand below whole lines.
        if (sung && due()) mark(at);
        for (const found of line.matchAll(THINGS)) {
          const end = at + found.index + found[0].length;
          if (found[1]) told.set(found[1], found[2].trim());
          else if (found[4]) filled = true;
          else if (found[3] && filled) {
            [count, filled] = [count + 1, false];
            // A number right after a bar line is the beginning of an ending.
            if (!sung && due() && !/^\s*\d/.test(abc.slice(end, end + 4)) && /[^\s|\]]/.test(abc.slice(end)))
              // An empty line would end the tune.
              mark(end + /^\s*/.exec(abc.slice(end))[0].length);
          }
        }
      }
      at += line.length + 1;
    }
    if (cuts.length < 2 || count < ENOUGH * bars) return whole;
    return cuts.map((begin, nth) => leaf(abc, begin, cuts[nth + 1]?.from ?? abc.length, nth, cuts.length));
  }

  function leaf(abc, { from, first, told }, to, nth, count) {
    if (!nth) return { from, to, first, text: abc.slice(0, to), shift: 0, last: false };
    const length = told.get("L") ?? unit(told.get("M") ?? ""), starts = abc.slice(0, from).endsWith("|:") ? "|:" : "";
    // A meter is shown where it begins.
    const before = `X:1\nM:none\nL:${length}\nK:${told.get("K")}\n${starts}`;
    return { from, to, first, text: before + abc.slice(from, to), shift: from - before.length, last: nth === count - 1 };
  }

  /* The unit of length where a tune tells none. */
  function unit(meter) {
    const [, beats, note] = /^(\d+)\/(\d+)/.exec(meter) ?? [];
    return beats && beats / note < 0.75 ? "1/16" : "1/8";
  }

  /* Leaves of a sheet so many pixels wide. What one draws comes back as marks: where it stands, and what was drawn. */
  function leaves(abc, width) {
    const measures = width < 560 ? 3 : 4;
    return cut(abc, LINES * measures).map((told) => ({
      key: `${width} ${told.last} ${told.text}`, first: told.first, from: told.from, to: told.to, lines: LINES,
      draw: ({ element }) => {
        const [tune] = window.ABCJS.renderAbc(element, told.text, {
          add_classes: true, responsive: "resize", staffwidth: Math.max(330, Math.min(width, 980)),
          paddingtop: 4, paddingbottom: 8, paddingleft: 4, paddingright: 4,
          wrap: { minSpacing: 1.5, maxSpacing: 2.7, preferredMeasuresPerLine: measures },
          foregroundColor: "currentColor", selectionColor: "currentColor",
          // A line is as long as the others, unless the tune ends with it.
          format: told.last ? {} : { stretchlast: 1 },
        });
        return marks(tune, told);
      },
    }));
  }

  /* What is drawn, by where it stands in the text, and by its voice and bar. */
  function marks(tune, { shift, first }) {
    const found = [], bars = new Map();
    for (const line of tune?.lines ?? [])
      (line.staff ?? []).forEach((staff, high) => (staff.voices ?? []).forEach((voice, deep) => {
        const name = `${high}.${deep}`;
        let bar = bars.get(name) ?? first, filled = false;
        for (const element of voice) {
          if (element.el_type === "bar" && filled) { bar++; filled = false; }
          if (element.el_type !== "note") continue;
          filled = true;
          const drawn = element.abselem?.elemset?.filter(Boolean) ?? [];
          if (drawn.length) found.push({ start: element.startChar + shift, voice: name, bar, length: element.duration ?? 0, drawn });
        }
        bars.set(name, bar);
      }));
    return found;
  }

  music.abc = { cut, leaves };
})();
