/* A piano roll on a canvas: time from left to right, pitch from the bottom up, a colour for each instrument;
 * below it by how much each bar surprised the model. */
(() => {
  "use strict";
  const music = window.rwkvMusic;
  if (music.roll) return;

  const BLACK = new Set([1, 3, 6, 8, 10]);
  const STRIP = 26, GAP = 6, LEFT = 34, HEAD = 16;
  // Seconds that fill the width at most; a longer piece is scrolled.
  const WIDE = 17;
  const FALL = 420;

  class Roll {
    constructor(element, piece, options = {}) {
      this.piece = piece;
      this.small = Boolean(options.small);
      this.take = options.take ?? null;
      this.canvas = element;
      this.context = element.getContext("2d");
      this.left = 0;
      this.zoom = 1;
      this.following = true;
      this.time = 0;
      this.playing = false;
      this.hover = null;
      this.drawn = false;
      const redraw = () => this.draw(), gone = new AbortController(), { signal } = gone;
      const observers = [new ResizeObserver(redraw), new MutationObserver(redraw)];
      observers[0].observe(element);
      observers[1].observe(document.body, { attributes: true, attributeFilter: ["class"] });
      // Whoever takes the canvas from the page says so, or the piece would know of it for ever.
      this.leave = () => { gone.abort(); for (const observer of observers) observer.disconnect(); };
      piece.addEventListener("music", (event) => { if (event.detail.take === this.number) { this.describe(); redraw(); } }, { signal });
      if (!this.small) {
        for (const kind of ["show", "pick", "tree", "mute"])
          piece.addEventListener(kind, () => { if (kind === "show") this.rewind(); this.describe(); redraw(); }, { signal });
        piece.addEventListener("pick", () => this.reveal(piece.picked), { signal });
        piece.addEventListener("time", ({ detail }) => {
          if (detail.playing && !this.playing) this.following = true;
          Object.assign(this, { time: detail.time, playing: detail.playing });
          this.follow();
          redraw();
        }, { signal });
        this.listen();
      }
      window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw, { signal });
      this.describe();
    }

    get number() { return this.take ?? this.piece.shown; }
    get shown() { return this.piece.takes.get(this.number) ?? null; }

    rewind() { this.left = 0; this.time = 0; this.following = true; }

    get seconds() {
      const end = Math.max(this.shown?.end ?? 0, 8);
      if (this.small) return end;
      return Math.min(end * 1.02, WIDE) / this.zoom;
    }

    get scale() { return (this.canvas.clientWidth - (this.small ? 0 : LEFT)) / this.seconds; }

    x(time) { return (this.small ? 0 : LEFT) + (time - this.left) * this.scale; }

    at(x) { return this.left + (x - LEFT) / this.scale; }

    follow() {
      if (!this.following || !this.shown) return;
      const wanted = this.piece.isGrowing && !this.playing ? this.shown.end : this.time;
      if (wanted > this.left + this.seconds * 0.85 || wanted < this.left)
        this.left = Math.max(0, Math.min(wanted - this.seconds * (this.playing ? 0.15 : 0.8), Math.max(0, this.shown.end - this.seconds * 0.5)));
    }

    /* Brings a bar into sight. */
    reveal(place) {
      const bar = this.shown?.bars[place];
      if (bar && (bar.start < this.left || bar.end > this.left + this.seconds)) this.left = Math.max(0, bar.start - this.seconds / 4);
    }

    draw() {
      if (this.drawn) return;
      this.drawn = true;
      requestAnimationFrame(() => { this.drawn = false; this.paint(); });
    }

    colours() {
      const style = getComputedStyle(this.canvas);
      const read = (name, other) => style.getPropertyValue(name).trim() || other;
      return {
        paper: read("--studio-roll", "#fffdf8"), row: read("--studio-row", "#f4efe4"), line: read("--studio-line", "#d9d1c0"),
        faint: read("--studio-faint", "#8c8474"), ink: read("--studio-ink", "#2b2a27"), accent: read("--studio-accent", "#b4552d"),
      };
    }

    paint() {
      const { canvas, context } = this;
      const width = canvas.clientWidth, height = canvas.clientHeight, ratio = window.devicePixelRatio || 1;
      if (!width || !height) return;
      if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
        canvas.width = Math.round(width * ratio);
        canvas.height = Math.round(height * ratio);
      }
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      if (!this.small && this.piece.isGrowing) this.follow();
      const colours = this.colours(), shown = this.shown;
      context.clearRect(0, 0, width, height);
      const bottom = this.small ? height : height - STRIP - GAP, top = this.small ? 0 : HEAD;
      const pitches = this.measure(shown);
      const thick = (bottom - top) / (pitches.high - pitches.low + 1);
      const y = (pitch) => bottom - (pitch - pitches.low + 1) * thick;
      context.fillStyle = colours.paper;
      context.fillRect(0, 0, width, height);
      if (!this.small) this.rows(colours, pitches, y, thick, width);
      if (!this.small && !shown?.notes.length) this.invite(colours, width, bottom);
      if (!shown) return;
      context.save();
      context.beginPath();
      context.rect(this.small ? 0 : LEFT, 0, width, height);
      context.clip();
      if (!this.small) this.bars(shown, colours, top, bottom, height, width);
      const moving = this.notes(shown, y, thick, width, top);
      if (!this.small) this.head(colours, bottom);
      context.restore();
      if (moving) this.draw();
    }

    invite(colours, width, bottom) {
      const { context } = this;
      context.fillStyle = colours.faint;
      context.font = "14px system-ui, sans-serif";
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.fillText("Notes fall in here while the model writes them.", (LEFT + width) / 2, bottom / 2);
    }

    /* The pitches between which all notes lie, with some room, and how many bits a note fill the strip; of a version. */
    measure(shown) {
      if (this.measured && this.measured.shown === shown && this.measured.version === shown?.version) return this.measured;
      let low = 127, high = 0;
      for (const note of shown?.notes ?? []) { low = Math.min(low, note.pitch); high = Math.max(high, note.pitch); }
      if (low > high) [low, high] = [60, 79];
      const least = this.small ? 12 : 24, lack = Math.max(0, least - (high - low + 1));
      // One bar may stand out by far: the scale is that of nine in ten.
      const known = (shown?.bars ?? []).map((bar) => bar.surprise).filter((bits) => bits !== null).sort((one, other) => one - other);
      this.measured = {
        shown, version: shown?.version, most: Math.max(3, known[Math.floor(known.length * 0.9)] ?? 0),
        low: Math.max(0, low - Math.ceil(lack / 2) - 1), high: Math.min(127, high + Math.floor(lack / 2) + 1),
      };
      return this.measured;
    }

    rows(colours, pitches, y, thick, width) {
      const { context } = this;
      context.fillStyle = colours.row;
      for (let pitch = pitches.low; pitch <= pitches.high; pitch++)
        if (BLACK.has(pitch % 12)) context.fillRect(LEFT, y(pitch), width - LEFT, thick);
      context.fillStyle = colours.faint;
      context.font = "10px system-ui, sans-serif";
      context.textAlign = "right";
      context.textBaseline = "middle";
      for (let pitch = pitches.low; pitch <= pitches.high; pitch++)
        if (pitch % 12 === 0) {
          context.fillText(`C${pitch / 12 - 1}`, LEFT - 6, y(pitch) + thick / 2);
          context.fillRect(LEFT, y(pitch) + thick - 0.5, width - LEFT, 0.5);
        }
    }

    bars(shown, colours, top, bottom, height, width) {
      const { context } = this;
      const bars = shown.bars, first = Math.max(0, music.until(bars, this.left));
      const { most } = this.measure(shown);
      context.textAlign = "left";
      context.textBaseline = "top";
      let label = -Infinity;
      for (let place = first; place < bars.length; place++) {
        const bar = bars[place], x = this.x(bar.start), end = this.x(bar.end);
        if (x > width) break;
        context.fillStyle = colours.line;
        context.fillRect(x, top - 4, 1, bottom - top + 4);
        if (x - label > 34) {
          context.fillStyle = colours.faint;
          context.font = "10px system-ui, sans-serif";
          context.fillText(String(place + 1), x + 3, 2);
          label = x;
        }
        if (bar.surprise !== null) {
          const share = Math.min(1, bar.surprise / most), tall = 3 + share * (STRIP - 4);
          context.globalAlpha = 0.28 + 0.72 * share;
          context.fillStyle = colours.accent;
          context.fillRect(x + 1.5, height - tall, Math.max(1, end - x - 2), tall);
          context.globalAlpha = 1;
        }
        if (place === this.piece.picked || place === this.hover) {
          context.globalAlpha = place === this.piece.picked ? 0.16 : 0.07;
          context.fillStyle = colours.accent;
          context.fillRect(x, top - 4, end - x, height - top + 4);
          context.globalAlpha = 1;
        }
        if (place === this.piece.picked) {
          context.fillStyle = colours.accent;
          context.fillRect(end - 1, top - 4, 2.5, height - top + 4);
        }
      }
      if (bars.length) {
        context.fillStyle = colours.line;
        context.fillRect(this.x(bars.at(-1).end), top - 4, 1, bottom - top + 4);
      }
    }

    notes(shown, y, thick, width, top) {
      const { context } = this;
      const now = performance.now(), seconds = this.seconds;
      const dark = document.body.classList.contains("dark");
      let moving = false;
      // The longest notes begin some time before they are last seen.
      const from = this.small ? 0 : Math.max(0, music.until(shown.notes, this.left - 30));
      for (let place = from; place < shown.notes.length; place++) {
        const note = shown.notes[place];
        if (note.start > this.left + seconds) break;
        if (note.end < this.left) continue;
        const player = shown.voices[note.voice] ?? [0, false];
        const x = this.x(note.start), wide = Math.max(2, (note.end - note.start) * this.scale - 1);
        let rise = 0, fade = 1;
        const age = now - note.came;
        if (!this.small && age < FALL) {
          moving = true;
          const share = 1 - age / FALL;
          rise = share * share * share * (y(note.pitch) - top + 10);
          fade = 1 - share * 0.6;
        }
        const sounding = this.playing && !this.small && note.start <= this.time && this.time < note.end;
        const heard = this.small || !this.piece.muted.has(music.voice(player));
        context.globalAlpha = fade * (heard ? 1 : 0.25) * (sounding ? 1 : 0.5 + (note.velocity / 127) * 0.45);
        context.fillStyle = sounding ? (dark ? "#fff3d6" : "#231f1a") : music.colour(note.voice, player[1]);
        const tall = Math.max(1.5, Math.min(thick - 0.6, 13)), up = y(note.pitch) + (thick - tall) / 2 - rise;
        if (this.small) { context.fillRect(x, up, wide, tall); continue; }
        context.beginPath();
        context.roundRect(x, up, wide, tall, Math.min(3.5, tall / 2.2, wide / 2));
        context.fill();
      }
      context.globalAlpha = 1;
      return moving;
    }

    head(colours, bottom) {
      if (!this.playing && !this.time) return;
      const { context } = this, x = this.x(this.time);
      if (x < LEFT) return;
      context.fillStyle = colours.accent;
      context.fillRect(x - 0.75, 4, 1.5, bottom - 4);
      context.beginPath();
      context.moveTo(x - 5, 2);
      context.lineTo(x + 5, 2);
      context.lineTo(x, 9);
      context.fill();
    }

    listen() {
      const { canvas, piece } = this;
      // Where a finger or the mouse went down, and what was at the left then; null where it only points.
      let held = null, dragged = false;
      const spot = (event) => {
        const box = canvas.getBoundingClientRect();
        return { x: event.clientX - box.left, y: event.clientY - box.top };
      };
      const bar = (event) => {
        const { x } = spot(event), bars = this.shown?.bars ?? [];
        const place = x < LEFT ? -1 : music.until(bars, this.at(x));
        return place >= 0 && this.at(x) <= bars[place].end ? place : null;
      };
      canvas.addEventListener("pointerdown", (event) => { held = { x: event.clientX, left: this.left }; dragged = false; });
      for (const kind of ["pointerup", "pointercancel", "pointerleave"]) canvas.addEventListener(kind, () => { held = null; });
      canvas.addEventListener("pointermove", (event) => {
        if (held && this.shown && (dragged || Math.abs(event.clientX - held.x) > 6)) {
          dragged = true;
          this.pull(held.left - (event.clientX - held.x) / this.scale);
          return;
        }
        const place = bar(event);
        if (place !== this.hover) { this.hover = place; this.hint(); this.draw(); }
      });
      canvas.addEventListener("pointerleave", () => { this.hover = null; this.hint(); this.draw(); });
      canvas.addEventListener("click", (event) => {
        if (dragged) return;
        const place = bar(event);
        if (spot(event).y < HEAD && this.shown) piece.tell("seek", { time: Math.max(0, this.at(spot(event).x)) });
        else piece.pick(place === piece.picked ? null : place);
      });
      canvas.addEventListener("dblclick", (event) => {
        const place = bar(event);
        if (place !== null) piece.tell("seek", { time: this.shown.bars[place].start, play: true });
      });
      canvas.addEventListener("wheel", (event) => {
        if (!this.shown) return;
        const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.shiftKey ? event.deltaY : 0;
        if (event.ctrlKey || event.metaKey) {
          const at = this.at(spot(event).x);
          this.zoom = Math.max(0.1, Math.min(12, this.zoom * Math.exp(-event.deltaY / 300)));
          this.left = Math.max(0, at - (spot(event).x - LEFT) / this.scale);
        } else if (sideways) {
          this.pull(this.left + sideways / this.scale);
        } else return;
        event.preventDefault();
        this.draw();
      }, { passive: false });
    }

    /* Moves what is seen, by hand: from then on it does not follow what is played. */
    pull(left) {
      this.left = Math.max(0, Math.min(this.shown.end - this.seconds / 4, left));
      this.following = false;
      this.draw();
    }

    hint() {
      const place = this.hover, bar = place === null ? null : this.shown?.bars[place];
      const bits = bar?.surprise === null || bar?.surprise === undefined ? "" : ` · ${bar.surprise.toFixed(1)} bits a note`;
      this.canvas.title = bar ? `bar ${place + 1}${bits}${bar.after === null ? "" : " · click: go on after it"}` : "";
    }

    describe() {
      const shown = this.shown;
      const words = shown ? `Piano roll: ${shown.bars.length} bars, ${shown.notes.length} notes, ${Math.round(shown.end)} seconds` : "Piano roll, no music yet";
      this.canvas.setAttribute("aria-label", words);
      this.canvas.dataset.notes = String(shown?.notes.length ?? 0);
    }
  }

  music.roll = (canvas, piece, options) => new Roll(canvas, piece, options);
})();
