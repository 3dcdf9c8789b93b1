/* What is known of the style that is being tuned: what was read, how far it is, and what came of it. */
(() => {
  "use strict";
  const music = window.rwkvMusic;
  if (music.tuning) return;
  const { make } = music;

  const plural = (count, thing) => `${count.toLocaleString("en")} ${thing}${count === 1 ? "" : "s"}`;
  const figure = (number) => (number ?? NaN).toFixed(3);

  function duration(seconds) {
    const minutes = Math.round(seconds / 60);
    if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
    return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  }

  function list(rows) {
    const made = make("dl");
    for (const [name, value] of rows) made.append(make("dt", "", name), make("dd", "", value));
    return made;
  }

  function figures(rows) {
    const made = make("div", "rm-figures");
    for (const [value, name] of rows) {
      const one = make("div");
      one.append(make("b", "", value), make("span", "", name));
      made.append(one);
    }
    return made;
  }

  /* Before it begins. */
  function preflight(known) {
    const facts = known.preflight;
    const left = Object.entries(facts.left_out);
    const count = left.reduce((sum, [, number]) => sum + number, 0);
    const shortened = facts.steps < facts.steps_wished ? `, of ${facts.steps_wished.toLocaleString("en")} for want of time` : "";
    const parts = [
      list([
        ["Found", plural(facts.found, "piece")],
        ["Left out", count ? plural(count, "piece") : "nothing"],
        ["Learnt from", plural(facts.pieces, "piece")],
        ["Judged by", `${plural(facts.held_out, "piece")} that it does not learn from`],
        ["Model", facts.model],
        ["Steps", facts.steps.toLocaleString("en") + shortened],
        ["Time", `${duration(facts.seconds)} at the most`],
        ...(facts.memory ? [["Memory", `${Math.round(facts.memory / 2 ** 20).toLocaleString("en")} MiB`]] : []),
        ["Surprise now", `${figure(facts.bits)} bits a ${facts.unit}`],
      ]),
    ];
    if (count) {
      const details = make("details");
      details.open = true;
      details.append(make("summary", "", "Why some were left out"), list(left.map(([reason, number]) => [reason, String(number)])));
      const named = facts.rejects.filter((row) => row.name);
      if (named.length) details.append(list(named.map((row) => [row.name, row.reason])));
      parts.push(details);
    }
    return parts;
  }

  function curve(known) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const points = [[0, known.preflight.bits], ...known.curve];
    const bits = points.map(([, value]) => value);
    const least = Math.min(...bits), most = Math.max(...bits), last = known.preflight.steps || 1;
    const at = ([step, value]) => `${(100 * step) / last},${5 + (80 * (most - value)) / (most - least || 1)}`;
    const shape = (name, attributes) => {
      const made = document.createElementNS(svg.namespaceURI, name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      return made;
    };
    const before = at(points[0]).split(",")[1];
    svg.setAttribute("viewBox", "0 0 100 90");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", "How the surprise falls from step to step");
    svg.append(shape("line", { x1: 0, x2: 100, y1: before, y2: before }), shape("polyline", { points: points.map(at).join(" ") }));
    return svg;
  }

  const SURPRISE = "Surprise is what a piece that it does not learn from costs the model: the lower, the better it knows the style.";
  const PHASES = {
    none: () => [
      make("h2", "", "A style of your own"),
      make("p", "", "Drop a dozen tunes or more that belong together: a dance, a region, a composer, your own. The model learns what they have in common, and begins with that in mind when you choose the style."),
      make("p", "", "Nothing leaves this machine. You see what was read and how long it takes before anything begins."),
    ],
    looking: (known) => [make("h2", "", `Reading the music for ${known.name}`), make("progress"), make("p", "", "It takes a few steps on trial, to tell how long it will take.")],
    ready: (known) => [make("h2", "", `${known.name} can be tuned`), ...preflight(known), make("p", "", SURPRISE)],
    learning: (known) => [
      make("h2", "", known.stopped ? `Stopping ${known.name}` : `Tuning ${known.name}`),
      ...going(known),
      make("p", "", "You may compose meanwhile: it goes on by itself, and gives way to others. Stop keeps what was learnt."),
      make("p", "", SURPRISE),
    ],
    keeping: (known) => [make("h2", "", `Keeping ${known.name}`), make("progress"), make("p", "", "The model is compared with what it was before.")],
    done: (known) => [make("h2", "", `${known.name} is ready`), ...result(known)],
    failed: (known) => [
      make("h2", "", known.name),
      make("p", "rm-wrong", known.error, { role: "alert" }),
      ...(known.preflight ? preflight(known) : []),
    ],
  };

  function going(known) {
    const { step } = known;
    if (!step) return [make("progress"), make("p", "", "Reading the music once more")];
    const bar = make("progress", "", "", { value: step.step, max: step.steps });
    const unit = `bits a ${known.preflight.unit}`;
    return [
      bar,
      figures([
        [`${step.step} of ${step.steps}`, "steps"],
        [duration(step.seconds_left), "left at the most"],
        [figure(known.preflight.bits), `${unit} before`],
        [known.now === undefined ? "–" : figure(known.now), `${unit} now`],
      ]),
      ...(known.curve?.length ? [curve(known)] : []),
    ];
  }

  function result(known) {
    const { before, after, size } = known.result;
    const unit = `bits a ${known.preflight.unit}`;
    const ways = make("div", "rm-ways");
    const style = encodeURIComponent(`${known.preflight.model}+${known.name}`);
    ways.append(
      make("a", "rm-button rm-main", "Compose with it", { href: `./?style=${style}` }),
      make("a", "rm-button", "Download", { href: `studio/style/${known.name}.safetensors`, download: "" }),
    );
    const line = make("p", "", "On the command line: ");
    line.append(make("code", "", `rwkv-music generate --style ${known.name}`));
    return [
      figures([
        [figure(before), `${unit} before`],
        [figure(after), `${unit} after`],
        [`${((100 * (after - before)) / before).toFixed(1).replace("-", "\u2212")} %`, "surprise"],
        [`${(size / 1e6).toFixed(2)} MB`, "size"],
      ]),
      ...(known.curve?.length ? [curve(known)] : []),
      ways,
      line,
      make("p", "", SURPRISE),
    ];
  }

  // Milliseconds between two questions, and after one that nobody answered.
  const PAUSE = 700, LONGER = 4000;

  /* Questions rather than a stream: a page that comes and goes, or sleeps, leaves nothing open. */
  music.tuning = (element, { server, watch, props, turned }) => {
    let shown = "", timer = 0;

    function show({ number, wrong, ...known }) {
      const told = JSON.stringify([known, wrong]);
      if (told === shown) return;
      shown = told;
      element.dataset.phase = known.phase;
      element.replaceChildren(...PHASES[known.phase](known));
      if (wrong) element.prepend(make("p", "rm-wrong", wrong, { role: "alert" }));
    }

    function hear(known) {
      const before = element.dataset.phase;
      show(known);
      if (before && before !== known.phase) turned(known.phase);
      clearTimeout(timer);
      if (known.busy) timer = setTimeout(ask, PAUSE);
    }

    async function ask() {
      try {
        hear(await server.view({}));
      } catch {
        timer = setTimeout(ask, LONGER);
      }
    }

    watch("value", () => { if (props.value) hear(props.value); });
    if (props.value) hear(props.value);
  };
})();
