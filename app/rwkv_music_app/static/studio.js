/* The page of the studio: what stands above and below the music, and what happens when something is pressed. */
(() => {
  "use strict";
  const music = window.rwkvMusic;
  if (music.desk) return;
  const { make } = music;

  const FORMATS = [["abc", "ABC"], ["mid", "MIDI"], ["musicxml", "MusicXML"], ["svg", "SVG"], ["pdf", "PDF"], ["wav", "WAV"]];
  const plural = (count, thing) => `${count} ${thing}${count === 1 ? "" : "s"}`;

  function button(kind, words, title, press) {
    const made = make("button", `rm-button ${kind}`, words, { type: "button", title });
    made.addEventListener("click", press);
    return made;
  }

  /* Names one says to the server, and what comes back. */
  class Desk {
    constructor(piece, server, trigger) {
      Object.assign(this, { piece, server, trigger });
      piece.resync = (session, take) => server.since({ session, take }).catch(() => null);
      piece.desk = this;
    }

    async tell(what, more = {}) {
      try {
        this.hear(await this.server.tell({ what, session: this.piece.session, ...more }));
      } catch {
        this.complain("The studio does not answer: is it still running?");
      }
    }

    hear(update) {
      if (!update) return;
      if (update.error) this.complain(update.error);
      for (const error of update.errors ?? []) this.complain(error);
      if (update.pieces) { this.pieces = update.pieces; this.piece.tell("pieces"); }
      if (update.closed && update.closed === this.piece.session) {
        this.piece.clear(null);
        this.piece.tell("show");
        this.piece.tell("tree");
      }
      this.piece.apply(update);
    }

    complain(words) {
      const toast = make("div", "rm-toast", words, { role: "alert" });
      document.querySelector(".rm-toasts")?.append(toast);
      setTimeout(() => toast.remove(), 9000);
    }

    stop() { if (this.piece.growing.length) this.tell("stop"); }
    undo() { this.tell("undo"); }
    redo() { this.tell("redo"); }

    grow(what) {
      const { piece } = this;
      if (!piece.session || piece.growing.length) return;
      const bar = piece.picked === null ? null : piece.take.bars[piece.picked].after;
      this.trigger("grow", { what, session: piece.session, take: piece.shown, bar, at: Date.now() });
    }
  }

  function desk(element, { server, watch, trigger, props }) {
    const piece = music.piece("studio");
    const mine = new Desk(piece, server, trigger);
    element.querySelector(".rm-toasts") ?? element.append(make("div", "rm-toasts", "", { "aria-live": "assertive" }));
    const title = make("h2", "rm-title", "A blank page");
    const about = make("p", "rm-about", "Choose how to begin, and press Compose.", { role: "status", "aria-live": "polite" });
    const words = make("div", "rm-words");
    words.append(title, about);
    const stop = button("rm-stop", "Stop", "Stop composing (Escape)", () => mine.stop());
    const others = make("details", "rm-pieces");
    others.append(make("summary", "rm-button", "Your pieces"), make("div", "rm-list"));
    element.append(words, stop, others);
    const look = () => {
      const tree = piece.tree, growing = piece.growing;
      element.classList.toggle("rm-growing", growing.length > 0);
      stop.hidden = !growing.length;
      title.textContent = tree ? tree.title : "A blank page";
      if (!tree) { about.textContent = "Choose how to begin, and press Compose."; return; }
      const take = tree.takes[piece.shown], bars = piece.take?.bars.length ?? 0;
      const name = take?.parent === null ? "the beginning" : `take ${piece.shown}`;
      about.textContent = growing.length ? `Composing ${plural(growing.length, "take")} · ${plural(bars, "bar")}` : `${tree.model} · ${name} · ${plural(bars, "bar")}${take?.seed === null || take === undefined ? "" : ` · seed ${take.seed}`}`;
    };
    for (const kind of ["tree", "show", "music"]) piece.addEventListener(kind, look);
    piece.addEventListener("pieces", () => list(others.querySelector(".rm-list"), mine, others));
    others.addEventListener("toggle", () => { if (others.open) mine.tell("list"); });
    document.addEventListener("click", (event) => { if (!others.contains(event.target)) others.open = false; });
    // A tune that is being typed is engraved at once, and so is one that was chosen: then its text is set by itself.
    let typed = "";
    const draft = () => {
      const box = document.querySelector("#rm-abc textarea");
      const text = box?.checkVisibility() ? box.value : "";
      if (text !== typed) piece.draft(typed = text);
    };
    document.addEventListener("input", (event) => { if (event.target.closest?.("#rm-abc")) draft(); });
    setInterval(draft, 300);
    look();
    watch("value", () => mine.hear(props.value));
    mine.hear(props.value);
    keys(mine);
  }

  function list(element, mine, others) {
    element.replaceChildren();
    if (!mine.pieces.length) element.append(make("p", "rm-small", "Nothing yet."));
    for (const known of mine.pieces) {
      const row = make("div", "rm-row");
      const open = button("rm-open", "", "Open this piece", () => { others.open = false; mine.tell("open", { session: known.name }); });
      open.append(make("b", "", known.title), make("span", "rm-small", `${plural(known.takes, "take")}${known.kept ? ` · ${known.kept} kept` : ""} · ${new Date(known.touched * 1000).toLocaleString()}`));
      const forget = button("rm-forget", "×", "Throw this piece away", () => {
        if (window.confirm(`Throw “${known.title}” away, with all its takes?`)) mine.tell("forget", { session: known.name });
      });
      forget.setAttribute("aria-label", `Throw ${known.title} away`);
      row.append(open, forget);
      element.append(row);
    }
  }

  /* Below the music: going on, the tree, the takes side by side, and out. */
  function takes(element) {
    const piece = music.piece("studio");
    const mine = () => piece.desk;
    const bar = make("div", "rm-actions", "", { role: "toolbar", "aria-label": "Go on" });
    const on = button("rm-main", "Continue", "Go on from here with the settings on the left (Enter)", () => mine().grow("go_on"));
    const other = button("", "Another way", "Compose this take anew from where it began (B)", () => mine().grow("branch"));
    const undo = button("", "Undo", "Back to the take before (Z)", () => mine().undo());
    const redo = button("", "Redo", "Forth again (Shift+Z)", () => mine().redo());
    bar.append(on, other, undo, redo);
    const tree = make("div", "rm-tree");
    const cards = make("div", "rm-cards", "", { role: "list", "aria-label": "Takes" });
    const out = make("div", "rm-out", "", { role: "group", "aria-label": "Download" });
    element.append(bar, tree, cards, out);
    const look = () => {
      const grows = piece.growing.length > 0, root = piece.tree?.takes[piece.shown]?.parent === null;
      const picked = piece.picked === null ? null : piece.picked + 1;
      on.textContent = picked ? `Continue after bar ${picked}` : root ? "Compose from here" : "Continue";
      on.disabled = other.disabled = !piece.session || grows;
      other.hidden = root;
      undo.disabled = !piece.tree || root || grows;
      redo.disabled = !piece.tree?.redo || grows;
      element.hidden = !piece.tree;
    };
    const plant = () => { draw(tree, piece); deal(cards, piece); ways(out, piece); look(); };
    for (const kind of ["tree", "show"]) piece.addEventListener(kind, plant);
    piece.addEventListener("pick", look);
    piece.addEventListener("music", (event) => tell(cards, piece, event.detail.take));
    piece.addEventListener("time", ({ detail }) => {
      for (const one of cards.children) {
        const words = detail.playing && Number(one.dataset.take) === piece.shown ? "Stop" : "Play", play = one.querySelector(".rm-play-take");
        if (play.textContent === words) continue;
        play.textContent = words;
        play.setAttribute("aria-label", `${words} take ${one.dataset.take}`);
      }
    });
    plant();
  }

  /* Takes as dots, from left to right as they were made, each below what it grew from. */
  function draw(element, piece) {
    const held = element.contains(document.activeElement) ? document.activeElement.dataset.take : undefined;
    element.replaceChildren();
    const all = piece.tree?.takes ?? [];
    if (all.length < 3) return;
    const places = new Map(), step = 34, high = 26;
    let rows = 0;
    const place = (number, depth) => {
      const children = all.filter((take) => take.parent === number);
      const own = { x: depth, y: rows };
      places.set(number, own);
      children.forEach((child, nth) => { if (nth) rows++; place(child.take, depth + 1); });
    };
    place(0, 0);
    const wide = (Math.max(...[...places.values()].map((spot) => spot.x)) + 1) * step + 16, tall = (rows + 1) * high + 8;
    const SVG = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("width", wide);
    svg.setAttribute("height", tall);
    svg.setAttribute("role", "tree");
    svg.setAttribute("aria-label", "Where each take came from");
    const x = (spot) => spot.x * step + 18, y = (spot) => spot.y * high + 17;
    for (const take of all) {
      if (take.parent === null) continue;
      const from = places.get(take.parent), to = places.get(take.take), line = document.createElementNS(SVG, "path");
      line.setAttribute("d", `M${x(from)} ${y(from)} C${x(from) + 16} ${y(from)} ${x(to) - 18} ${y(to)} ${x(to)} ${y(to)}`);
      svg.append(line);
    }
    for (const take of all) {
      const spot = places.get(take.take), group = document.createElementNS(SVG, "g"), dot = document.createElementNS(SVG, "circle");
      const words = take.parent === null ? "the beginning" : `take ${take.take}: ${plural(take.bars, "bar")} from take ${take.parent}${take.from ? ` after bar ${take.from}` : ""}, seed ${take.seed}${take.kept ? ", kept" : ""}`;
      group.dataset.take = String(take.take);
      group.setAttribute("role", "treeitem");
      group.setAttribute("tabindex", "0");
      group.setAttribute("aria-label", words);
      group.setAttribute("aria-selected", String(take.take === piece.shown));
      group.setAttribute("class", `${take.take === piece.shown ? "rm-here" : ""} ${take.kept ? "rm-kept" : ""} ${take.growing ? "rm-alive" : ""}`);
      dot.setAttribute("cx", x(spot));
      dot.setAttribute("cy", y(spot));
      dot.setAttribute("r", take.take === piece.shown ? 9 : 7);
      const number = document.createElementNS(SVG, "text");
      number.setAttribute("x", x(spot));
      number.setAttribute("y", y(spot) + 3.5);
      number.textContent = take.parent === null ? "♪" : String(take.take);
      const hint = document.createElementNS(SVG, "title");
      hint.textContent = words;
      group.append(hint, dot, number);
      const go = () => piece.desk.tell("go_to", { take: take.take });
      group.addEventListener("click", go);
      group.addEventListener("keydown", (event) => { if (event.key === "Enter") go(); });
      svg.append(group);
    }
    element.append(svg);
    element.scrollLeft = element.scrollWidth;
    // Whoever was at a take by key is there still.
    if (held !== undefined) svg.querySelector(`[data-take="${held}"]`)?.focus();
  }

  /* The takes that grew from the same place as the one that is shown, side by side. */
  function deal(element, piece) {
    const all = piece.tree?.takes ?? [], here = all[piece.shown];
    const told = !here || here.parent === null ? all.filter((take) => take.parent === 0 && take.from === 0) : all.filter((take) => take.parent === here.parent && take.from === here.from);
    const hand = told.slice(-8).map((take) => take.take);
    const key = `${piece.session}:${hand.join()}`;
    if (element.dataset.hand !== key) {
      element.dataset.hand = key;
      for (const old of element.children) old.roll.leave();
      element.replaceChildren(...hand.map((number) => card(piece, number)));
    }
    element.classList.toggle("rm-alone", hand.length < 2);
    for (const number of hand) tell(element, piece, number);
  }

  function card(piece, number) {
    const made = make("div", "rm-card", "", { role: "listitem" });
    made.dataset.take = String(number);
    const go = button("rm-go", "", "Show this take", () => piece.desk.tell("go_to", { take: number }));
    const canvas = make("canvas", "rm-mini", "", { role: "img" });
    go.append(make("b", "", `Take ${number}`), make("span", "rm-small rm-what"), canvas);
    const play = button("rm-play-take", "Play", "Play this take", async () => {
      if (piece.shown !== number) await piece.desk.tell("go_to", { take: number });
      piece.player?.toggle();
    });
    const keep = button("rm-keep", "Keep", "Keep this take: the piece will not grow old", () => piece.desk.tell("keep", { take: number, kept: !piece.tree.takes[number].kept }));
    const row = make("div", "rm-row");
    play.setAttribute("aria-label", `Play take ${number}`);
    row.append(play, keep);
    made.append(go, row);
    made.roll = music.roll(canvas, piece, { small: true, take: number });
    if (!piece.takes.has(number)) piece.ask(number);
    return made;
  }

  function tell(element, piece, number) {
    const made = element.querySelector(`[data-take="${number}"]`), take = piece.tree?.takes[number];
    if (!made || !take) return;
    made.classList.toggle("rm-here", number === piece.shown);
    made.classList.toggle("rm-alive", take.growing);
    made.querySelector(".rm-go").setAttribute("aria-pressed", String(number === piece.shown));
    made.querySelector(".rm-what").textContent = take.growing ? "composing…" : `${plural(take.bars, "bar")}${take.ended ? ", ended" : ""}`;
    made.querySelector(".rm-go").title = `Show this take (seed ${take.seed})`;
    const keep = made.querySelector(".rm-keep");
    keep.classList.toggle("rm-kept", take.kept);
    keep.textContent = take.kept ? "Kept ★" : "Keep ☆";
    keep.setAttribute("aria-label", `Keep take ${number}`);
    keep.setAttribute("aria-pressed", String(take.kept));
  }

  function ways(element, piece) {
    element.replaceChildren();
    if (!piece.session) return;
    element.append(make("span", "rm-small", "Download"));
    const link = (words, address, name, title) => element.append(make("a", "rm-chip", words, { href: address, download: name, title }));
    for (const [suffix, words] of FORMATS)
      link(words, `studio/take/${piece.session}/${piece.shown}.${suffix}`, `take-${piece.shown}.${suffix}`, `This take as ${words}`);
    link("Session", `studio/session/${piece.session}.rwkvsession`, "piece.rwkvsession", "All takes: the command line goes on from it");
    share(element, piece);
  }

  /* A link that works for whoever has it. Where the page is not on this machine, browsers give no clipboard: it is shown. */
  function share(element, piece) {
    const take = piece.tree?.takes[piece.shown];
    if (!take || take.growing) return;
    if (!take.shared) {
      element.append(button("rm-chip rm-share", "Share a link", "Whoever has the link can download this take", () => piece.desk.tell("share", { take: take.take })));
      return;
    }
    const form = piece.take?.windows.length ? "mid" : "abc";
    const address = new URL(`studio/shared/${take.shared}.${form}`, document.baseURI).href;
    const link = make("input", "rm-link", "", { type: "text", readonly: "", value: address, "aria-label": "Link to this take" });
    link.addEventListener("focus", () => link.select());
    element.append(link, button("rm-chip rm-unshare", "Take it back", "The link leads nowhere from then on", () => piece.desk.tell("unshare", { take: take.take })));
  }

  /* Keys, wherever nobody is typing. */
  function keys(mine) {
    const { piece } = mine;
    const step = (by) => {
      const bars = piece.take?.bars ?? [];
      for (let place = (piece.picked ?? (by > 0 ? -1 : bars.length)) + by; place >= 0 && place < bars.length; place += by)
        if (bars[place].after !== null) return piece.pick(place);
    };
    document.addEventListener("keydown", (event) => {
      const typing = event.target.closest?.("input, textarea, select, [contenteditable]"), pressed = event.target.closest?.("button, summary, a, [role=treeitem]");
      if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
      const acts = {
        " ": () => (pressed ? null : piece.player?.toggle()), z: () => mine.undo(), Z: () => mine.redo(), b: () => mine.grow("branch"),
        Enter: () => (pressed ? null : mine.grow("go_on")), ArrowRight: () => step(1), ArrowLeft: () => step(-1),
        Escape: () => (piece.growing.length ? mine.stop() : piece.pick(null)),
      };
      const act = acts[event.key];
      if (!act || (pressed && (event.key === " " || event.key === "Enter"))) return;
      event.preventDefault();
      act();
    });
  }

  music.desk = desk;
  music.takes = takes;
})();
