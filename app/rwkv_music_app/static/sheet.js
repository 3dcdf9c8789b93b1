/* Sheet music: leaves of some bars, drawn where they are looked at; lit up where it sounds, clicked to go on after a bar. */
(() => {
  "use strict";
  const music = window.rwkvMusic;
  if (music.sheet) return;

  // Milliseconds between two drawings of a leaf that grows, and how much more than one takes.
  const PAUSE = 250, LEISURE = 4;
  // How far around what is seen leaves are drawn, and how high a line of music is taken to be before it is.
  const AROUND = "500px 0px", LINE = 90;

  /* A place for some bars, and what is drawn there. */
  class Leaf {
    constructor() {
      this.element = music.make("div", "rm-leaf");
      this.told = null;
      this.drawn = null;
      this.marks = [];
      this.near = false;
      this.busy = false;
      this.due = 0;
    }

    /* Draw what is told, unless that stands here already; whether anything new does. */
    async draw() {
      const { told } = this;
      if (!told || this.busy || this.drawn === told.key) return false;
      this.busy = true;
      const begun = performance.now();
      try {
        this.marks = await told.draw(this);
      } catch {
        this.say("This part of the sheet cannot be drawn now.");
      }
      this.busy = false;
      this.drawn = told.key;
      this.due = performance.now() + Math.max(PAUSE, LEISURE * (performance.now() - begun));
      this.element.style.minHeight = "";
      return true;
    }

    /* Takes an element, or nothing, in the place of what was drawn. */
    take(...elements) {
      this.element.replaceChildren(...elements);
      this.element.className = "rm-leaf";
      this.element.removeAttribute("style");
      this.marks = [];
    }

    say(words) { this.take(music.make("p", "rm-sheet-note", words)); }

    /* Far away: only its height stays. */
    clear() {
      if (this.drawn === null) return;
      const height = this.element.offsetHeight;
      this.take();
      this.element.style.minHeight = `${height}px`;
      this.drawn = null;
    }
  }

  class Sheet {
    constructor(element, piece) {
      this.piece = piece;
      this.frame = element;
      this.page = music.make("div", "rm-sheet-page");
      this.note = music.make("p", "rm-sheet-note");
      element.append(this.note, this.page);
      this.leaves = [];
      this.timer = null;
      this.lit = [];
      this.marked = [];
      this.watcher = new IntersectionObserver((seen) => this.look(seen), { root: element, rootMargin: AROUND });
      piece.addEventListener("music", (event) => { if (event.detail.take === piece.shown) this.draw(); });
      for (const kind of ["show", "tree"]) piece.addEventListener(kind, () => this.draw());
      piece.addEventListener("pick", () => {
        this.mark();
        if (piece.picked !== null) this.reveal(this.marked[0], this.written(piece.picked));
      });
      piece.addEventListener("time", (event) => this.light(event.detail));
      element.addEventListener("click", (event) => this.click(event));
      let width = element.clientWidth;
      new ResizeObserver(() => {
        if (Math.abs(element.clientWidth - width) < 24) return;
        width = element.clientWidth;
        this.draw();
      }).observe(element);
      this.draw();
    }

    get take() { return this.piece.drafted ? null : this.piece.take; }

    draw(pause = 0) {
      if (this.timer !== null) return;
      this.timer = setTimeout(() => { this.timer = null; this.render(); }, pause);
    }

    /* What the sheet is to show, leaf by leaf. */
    told() {
      const { take } = this, width = Math.max(240, this.frame.clientWidth - 24);
      if (take?.windows.length) return music.engraved.leaves(this.piece, take, width);
      const abc = this.piece.drafted ?? take?.abc ?? "";
      return abc.trim() ? music.abc.leaves(abc, width) : [];
    }

    render() {
      const { take, frame } = this, told = this.told();
      this.note.textContent = take?.trouble ? `Not on the sheet yet: ${take.trouble}`
        : take?.approximate ? "Approximate notation: what a reader would write down of this performance." : "";
      const atEnd = frame.scrollTop + frame.clientHeight > frame.scrollHeight - 60;
      while (this.leaves.length > told.length) {
        const gone = this.leaves.pop();
        this.watcher.unobserve(gone.element);
        gone.element.remove();
      }
      told.forEach((what, nth) => {
        const leaf = this.leaves[nth] ?? new Leaf();
        leaf.told = what;
        if (nth < this.leaves.length) return;
        leaf.element.style.minHeight = `${Math.ceil(what.lines) * LINE}px`;
        this.leaves.push(leaf);
        this.page.append(leaf.element);
        this.watcher.observe(leaf.element);
      });
      const bars = take?.bars.length ?? 0;
      frame.setAttribute("aria-label", told.length ? `Sheet music${bars ? `, ${bars} bars` : ""}` : "Sheet music, empty");
      frame.dataset.characters = String((this.piece.drafted ?? take?.abc ?? "").length);
      frame.dataset.bars = String(bars);
      this.print(this.piece.isGrowing && atEnd);
    }

    look(seen) {
      for (const { target, isIntersecting } of seen) {
        const leaf = this.leaves.find((one) => one.element === target);
        if (!leaf) continue;
        leaf.near = isIntersecting;
        if (!isIntersecting) leaf.clear();
      }
      this.print(false);
    }

    /* Draws the leaves that are near and not as they should be, each when its time has come. */
    print(follow) {
      const now = performance.now();
      let later = Infinity;
      for (const leaf of this.leaves) {
        if (!leaf.near || leaf.busy || leaf.drawn === leaf.told.key) continue;
        if (leaf.drawn !== null && leaf.due > now) { later = Math.min(later, leaf.due - now); continue; }
        leaf.draw().then((changed) => {
          if (!changed) return;
          if (!this.leaves.includes(leaf) || !leaf.near) leaf.clear();
          this.lit = [];
          this.mark();
          if (follow) this.frame.scrollTop = this.frame.scrollHeight;
          if (leaf.told.key !== leaf.drawn) this.draw(PAUSE);
        });
      }
      if (later < Infinity) this.draw(later);
      if (follow) this.frame.scrollTop = this.frame.scrollHeight;
    }

    /* The number of the written bar that a bar of the take is. */
    written(place) {
      const bar = this.take?.bars[place], windows = this.take?.windows;
      if (!bar || !windows) return -1;
      if (!windows.length) return bar.bar > 0 ? bar.bar - 1 : place;
      // Its middle, as bars of free playing do not begin to the millisecond where they are written.
      const middle = (bar.start + bar.end) / 2, window = windows[music.until(windows, middle)];
      return window ? window.first + Math.max(0, music.until(window.starts, middle, null)) : -1;
    }

    /* What is drawn of a bar that is played: by where it stands in the text, or by its number. */
    within(place) {
      const { take } = this, bars = take?.bars ?? [], bar = bars[place];
      if (!bar) return [];
      const marks = this.leaves.flatMap((leaf) => leaf.marks);
      if (bar.place === null) { const number = this.written(place); return marks.filter((mark) => mark.bar === number); }
      let end = Infinity;
      for (const other of bars) if (other.place > bar.place && other.place < end) end = other.place;
      return marks.filter((mark) => mark.start >= bar.place && mark.start < end);
    }

    /* Those of them that sound when a share of the bar has gone by. */
    at(marks, share) {
      const passed = new Map(), whole = new Map();
      for (const { voice, length } of marks) whole.set(voice, (whole.get(voice) ?? 0) + length);
      return marks.filter(({ voice, length }) => {
        const begin = passed.get(voice) ?? 0;
        passed.set(voice, begin + length);
        return share >= begin / whole.get(voice) && share < (begin + length) / whole.get(voice);
      });
    }

    paint(marks, name) {
      for (const mark of marks) for (const drawn of mark.drawn) drawn.classList.add(name);
      return marks;
    }

    clean(marks, name) { for (const mark of marks) for (const drawn of mark.drawn) drawn.classList.remove(name); }

    mark() {
      this.clean(this.marked, "rm-picked");
      this.marked = this.piece.picked === null ? [] : this.paint(this.within(this.piece.picked), "rm-picked");
    }

    light({ time, playing }) {
      const { take } = this, place = playing && take ? music.until(take.bars, time) : -1, bar = take?.bars[place];
      const inside = bar && time <= bar.end;
      const share = inside ? (time - bar.start) / Math.max(1e-6, bar.end - bar.start) : 0;
      const sounding = inside ? this.at(this.within(place), share) : [];
      if (inside && !sounding.length) this.reveal(null, this.written(place));
      if (sounding.length === this.lit.length && sounding.every((mark, nth) => mark === this.lit[nth])) return;
      this.clean(this.lit, "rm-sounding");
      this.lit = this.paint(sounding, "rm-sounding");
      this.reveal(sounding[0], this.written(place));
    }

    /* Brings what is drawn, or else the leaf where a written bar will be, into sight. */
    reveal(mark, bar) {
      const leaf = mark ? null : this.leaves.findLast((one) => one.told.first <= bar);
      const element = mark?.drawn[0] ?? (leaf && leaf.drawn !== leaf.told.key && !leaf.busy ? leaf.element : null);
      if (!element || (leaf && bar < 0)) return;
      const at = element.getBoundingClientRect(), frame = this.frame.getBoundingClientRect();
      if (leaf ? at.bottom < frame.top || at.top > frame.bottom : at.bottom > frame.bottom - 8 || at.top < frame.top)
        this.frame.scrollTop += at.top - frame.top - frame.height / 3;
    }

    /* The bar at a click: of what is drawn the nearest in the same line. */
    click({ clientX: x, clientY: y }) {
      const { take, piece } = this;
      if (!take) return;
      const far = (box) => Math.max(box.left - x, x - box.right, 0) + 3 * Math.max(box.top - y, y - box.bottom, 0);
      let nearest = null, least = 120;
      for (const leaf of this.leaves)
        for (const mark of leaf.marks) {
          const away = far(mark.drawn[0].getBoundingClientRect());
          if (away < least) [nearest, least] = [mark, away];
        }
      if (!nearest) return;
      let found = null, best = -1;
      take.bars.forEach((bar, place) => {
        if (bar.place === null) { if (this.written(place) === nearest.bar) found = place; }
        else if (bar.place <= nearest.start && bar.place > best) [best, found] = [bar.place, place];
      });
      piece.pick(found === piece.picked ? null : found);
    }
  }

  music.sheet = (element, piece) => new Sheet(element, piece);
})();
