/* Sheet music by abcjs: drawn anew as the tune grows, lit up where it sounds, clicked to go on after a bar. */
(() => {
  "use strict";
  const music = window.rwkvMusic;
  if (music.sheet) return;

  // Milliseconds between two drawings of a sheet that grows, and how much more than one takes.
  const PAUSE = 250, LEISURE = 4;

  class Sheet {
    constructor(element, piece) {
      this.piece = piece;
      this.frame = element;
      this.page = music.make("div", "rm-sheet-page");
      this.note = music.make("p", "rm-sheet-note");
      element.append(this.note, this.page);
      this.drawn = null;
      this.cost = 0;
      this.due = 0;
      this.timer = null;
      this.lit = [];
      this.marks = [];
      piece.addEventListener("music", (event) => { if (event.detail.take === piece.shown) this.draw(); });
      for (const kind of ["show", "tree"]) piece.addEventListener(kind, () => this.draw());
      piece.addEventListener("pick", () => this.mark());
      piece.addEventListener("time", (event) => this.light(event.detail));
      let width = element.clientWidth;
      new ResizeObserver(() => {
        if (Math.abs(element.clientWidth - width) < 24) return;
        width = element.clientWidth;
        this.drawn = null;
        this.draw();
      }).observe(element);
    }

    get abc() { return this.piece.drafted ?? this.piece.take?.abc ?? ""; }

    draw() {
      if (this.timer !== null) return;
      this.timer = setTimeout(() => { this.timer = null; this.render(); }, Math.max(0, this.due - performance.now()));
    }

    render() {
      const { piece, abc } = this;
      const take = piece.drafted ? null : piece.take;
      this.note.textContent = take?.trouble ? `Not on the sheet yet: ${take.trouble}`
        : take?.approximate ? "Approximate notation: what a reader would write down of this performance." : "";
      if (abc === this.drawn) return;
      this.drawn = abc;
      const begun = performance.now(), width = Math.max(240, this.frame.clientWidth - 24);
      const atEnd = this.frame.scrollTop + this.frame.clientHeight > this.frame.scrollHeight - 60;
      if (!abc.trim()) this.page.replaceChildren();
      else {
        const [tune] = window.ABCJS.renderAbc(this.page, abc, {
          add_classes: true, responsive: "resize", staffwidth: Math.max(330, Math.min(width, 980)),
          paddingtop: 4, paddingbottom: 8, paddingleft: 4, paddingright: 4,
          wrap: { minSpacing: 1.5, maxSpacing: 2.7, preferredMeasuresPerLine: width < 560 ? 3 : 4 },
          foregroundColor: "currentColor", selectionColor: "currentColor",
          clickListener: (element) => this.click(element),
        });
        this.index(tune);
      }
      const bars = take?.bars.length ?? 0;
      this.frame.setAttribute("aria-label", abc ? `Sheet music${bars ? `, ${bars} bars` : ""}` : "Sheet music, empty");
      this.frame.dataset.characters = String(abc.length);
      this.cost = performance.now() - begun;
      this.due = performance.now() + Math.max(PAUSE, LEISURE * this.cost);
      this.mark();
      if (piece.isGrowing && atEnd) this.frame.scrollTop = this.frame.scrollHeight;
    }

    /* What is drawn, by where it stands in the text, and by its voice and bar. */
    index(tune) {
      this.marks = [];
      const bars = new Map();
      for (const line of tune?.lines ?? [])
        (line.staff ?? []).forEach((staff, high) => (staff.voices ?? []).forEach((voice, deep) => {
          const name = `${high}.${deep}`;
          let bar = bars.get(name) ?? 0, filled = false;
          for (const element of voice) {
            if (element.el_type === "bar" && filled) { bar++; filled = false; }
            if (element.el_type !== "note") continue;
            filled = true;
            if (element.abselem?.elemset)
              this.marks.push({ start: element.startChar, voice: name, bar, length: element.duration ?? 0, drawn: element.abselem.elemset });
          }
          bars.set(name, bar);
        }));
      this.lit = [];
    }

    /* The notes and rests of a bar that is played; of a performance, whose bars have no place in the text, by its number. */
    within(place) {
      const bars = this.piece.take?.bars ?? [], bar = bars[place];
      if (!bar || this.piece.drafted) return [];
      if (bar.place === null) return this.marks.filter((mark) => mark.bar === place);
      let end = Infinity;
      for (const other of bars) if (other.place > bar.place && other.place < end) end = other.place;
      return this.marks.filter((mark) => mark.start >= bar.place && mark.start < end);
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
      for (const mark of marks) for (const drawn of mark.drawn) drawn?.classList?.add(name);
      return marks;
    }

    clean(marks, name) { for (const mark of marks) for (const drawn of mark.drawn) drawn?.classList?.remove(name); }

    mark() {
      this.clean(this.marked ?? [], "rm-picked");
      this.marked = this.piece.picked === null ? [] : this.paint(this.within(this.piece.picked), "rm-picked");
    }

    light({ time, playing }) {
      const take = this.piece.take;
      const place = playing && take ? music.until(take.bars, time) : -1;
      const bar = take?.bars[place];
      const inside = bar && time <= bar.end;
      const share = inside ? (time - bar.start) / Math.max(1e-6, bar.end - bar.start) : 0;
      const sounding = inside ? this.at(this.within(place), share) : [];
      if (sounding.length === this.lit.length && sounding.every((mark, nth) => mark === this.lit[nth])) return;
      this.clean(this.lit, "rm-sounding");
      this.lit = this.paint(sounding, "rm-sounding");
      this.reveal(sounding[0]);
    }

    reveal(mark) {
      const drawn = mark?.drawn?.[0];
      if (!drawn?.getBoundingClientRect) return;
      const at = drawn.getBoundingClientRect(), frame = this.frame.getBoundingClientRect();
      if (at.bottom > frame.bottom - 8 || at.top < frame.top) this.frame.scrollTop += at.top - frame.top - frame.height / 3;
    }

    click(element) {
      if (this.piece.drafted || !(element?.startChar >= 0)) return;
      const bars = this.piece.take?.bars ?? [], mark = this.marks.find((one) => one.start === element.startChar);
      let found = null, best = -1;
      bars.forEach((bar, place) => {
        if (bar.place === null) { if (place === mark?.bar) found = place; }
        else if (bar.place <= element.startChar && bar.place > best) { best = bar.place; found = place; }
      });
      this.piece.pick(found === this.piece.picked ? null : found);
    }
  }

  music.sheet = (element, piece) => new Sheet(element, piece);
})();
