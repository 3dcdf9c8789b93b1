/* A piece as the page knows it: its takes, brought up to date change by change, and whoever looks at it.
 * Roll, sheet, player and tree that are bound to a piece of the same name show the same music. */
(() => {
  "use strict";
  if (window.rwkvMusic) return;

  class Piece extends EventTarget {
    constructor(name) {
      super();
      this.name = name;
      this.clear(null);
      // Asks the server for a whole take, where there is one to ask.
      this.resync = null;
    }

    clear(session) {
      this.session = session;
      this.takes = new Map();
      this.tree = null;
      this.shown = 0;
      this.picked = null;
      this.drafted = null;
      this.missing = new Set();
      // Players that are not to be heard, by program; drums are "drums".
      this.muted = new Set();
    }

    get take() { return this.takes.get(this.shown) ?? null; }
    get growing() { return this.tree?.growing ?? []; }
    get isGrowing() { return this.growing.includes(this.shown); }

    tell(kind, detail = {}) { this.dispatchEvent(new CustomEvent(kind, { detail })); }

    /* An update from the server. What is of another session than the one on the page is left aside, unless it opens it;
     * what tells of growth opens nothing that somebody has left since. */
    apply(update) {
      if (!update) return;
      if (update.session !== undefined && update.session !== this.session) {
        if ((!update.tree || update.errors) && this.session !== null) return;
        this.clear(update.session);
      }
      if (update.tree) this.plant(update.tree);
      for (const [number, told] of Object.entries(update.takes ?? {})) this.change(Number(number), told);
      if (update.tree) this.look();
    }

    plant(tree) {
      const before = this.tree;
      this.tree = tree;
      if (!before || before.current !== tree.current) this.show(tree.current);
      this.tell("tree");
    }

    change(number, told) {
      const have = this.takes.get(number) ?? { version: 0, notes: [], bars: [], abc: "", windows: [], voices: [] };
      if (told.base !== 0 && told.base !== have.version) return this.ask(number);
      have.version = told.version;
      have.notes.length = told.notes.from;
      const now = performance.now();
      for (const [start, length, pitch, velocity, voice] of told.notes.new)
        have.notes.push({ start: start / 1000, end: (start + length) / 1000, pitch, velocity, voice, came: now });
      have.bars.length = told.bars.from;
      for (const [start, end, after, surprise, place, bar] of told.bars.new)
        have.bars.push({ start: start / 1000, end: end / 1000, after, surprise, place, bar });
      have.abc = have.abc.slice(0, told.abc.from) + told.abc.new;
      have.windows.length = told.windows.from;
      for (const [name, starts] of told.windows.new) {
        const before = have.windows.at(-1), seconds = starts.map((start) => start / 1000);
        have.windows.push({ name, starts: seconds, start: seconds[0], first: before ? before.first + before.starts.length : 0 });
      }
      Object.assign(have, { voices: told.voices, approximate: told.approximate, trouble: told.trouble });
      have.end = have.notes.reduce((end, note) => Math.max(end, note.end), have.bars.at(-1)?.end ?? 0);
      this.takes.set(number, have);
      this.missing.delete(number);
      this.tell("music", { take: number });
    }

    ask(number) {
      if (!this.resync || this.missing.has(number)) return;
      this.missing.add(number);
      const session = this.session, known = () => this.takes.get(number)?.version ?? 0, before = known();
      // Meanwhile newer versions may have come of themselves. Only then: a server that was started anew counts from 1.
      const late = (told) => known() !== before && told?.version < known();
      this.resync(session, number)
        .then((update) => { if (this.session === session && !late(update?.takes?.[number])) this.apply(update); })
        .finally(() => { if (this.session === session) this.missing.delete(number); });
    }

    /* Every take on the page is asked for when it is first needed. */
    look() { if (!this.takes.has(this.shown) && this.tree) this.ask(this.shown); }

    show(number) {
      this.drafted = null;
      this.shown = number;
      this.picked = null;
      this.look();
      this.tell("show");
    }

    /* The bar after which to go on, by its place among the bars of the shown take; null goes on from the end. */
    pick(place) {
      const bar = place === null ? null : this.take?.bars[place];
      this.picked = bar && bar.after !== null ? place : null;
      this.tell("pick");
    }

    /* ABC that a person is typing, in the place of a take. */
    draft(abc) {
      this.drafted = abc && abc.trim() ? abc : null;
      this.tell("show");
    }
  }

  const COLOURS = ["#3f7cac", "#d1603d", "#5b9279", "#d9a21b", "#8661a6", "#1f8a8a", "#b0578d", "#7d8f2e"];
  const BY_NIGHT = ["#6fb1e0", "#ee8a63", "#86c29f", "#f0c04f", "#b694d6", "#4fc0c0", "#dc87b4", "#b3c65e"];
  const DRUMS = "#8b8b8b";
  const pieces = new Map();
  window.rwkvMusic = {
    piece(name) {
      if (!pieces.has(name)) pieces.set(name, new Piece(name));
      return pieces.get(name);
    },
    /* An element, its class and words: whatever a person has typed only ever becomes text. */
    make(tag, kind = "", text = "", attributes = {}) {
      const element = document.createElement(tag);
      if (kind) element.className = kind;
      if (text) element.textContent = text;
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      return element;
    },
    /* The colour of a voice, by day or by night, and what it is muted by. */
    colour(voice, drums) {
      const dark = document.body.classList.contains("dark");
      return drums ? DRUMS : (dark ? BY_NIGHT : COLOURS)[voice % COLOURS.length];
    },
    voice([program, drums]) { return drums ? "drums" : String(program); },
    clock(seconds) {
      const whole = Math.max(0, Math.floor(seconds));
      return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
    },
    /* The place of the last of some sorted things (or plain times, without a key) that begins at or before a time; -1
     * before the first. */
    until(things, time, key = "start") {
      let low = 0, high = things.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((key ? things[middle][key] : things[middle]) <= time) low = middle + 1; else high = middle;
      }
      return low - 1;
    },
  };
})();
