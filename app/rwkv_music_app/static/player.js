/* A player of plain samples, one for each note, from the server's own soundfont; it plays on while a take still grows. */
(() => {
  "use strict";
  const music = window.rwkvMusic;
  const { make } = music;
  if (music.player) return;

  const NAMES = ["C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B"];
  // Seconds: how far ahead notes are given to the audio, what is loaded before it begins, what it waits for when it
  // has caught up with a take that grows, and how long a note takes to die away.
  const AHEAD = 0.25, BEFORE = 2.5, BUFFER = 2, RELEASE = 0.12;
  const TICK = 30, AT_ONCE = 6;
  // What a server answers that renders too many notes already, and milliseconds until it is asked again.
  const BUSY = 503, LATER = 1000;
  // Samples that are kept, and the rate that the server has them in: so they take half the room.
  const MOST_SAMPLES = 480, SAMPLE_RATE = 22050;

  class Player {
    constructor(piece, { instruments, base }) {
      Object.assign(this, { piece, instruments, base });
      this.audio = null;
      this.samples = new Map();
      this.queue = [];
      this.loading = 0;
      this.playing = false;
      this.waiting = false;
      this.position = 0;
      this.rate = 1;
      this.volume = 0.9;
      this.sounding = new Set();
      piece.addEventListener("show", () => { this.stop(); this.seek(0); });
      piece.addEventListener("seek", (event) => { this.seek(event.detail.time); if (event.detail.play) this.play(); });
    }

    get take() { return this.piece.take; }

    get time() {
      if (!this.playing || this.waiting) return this.position;
      return this.position + (this.audio.currentTime - this.origin) * this.rate;
    }

    open() {
      if (this.audio) return;
      this.audio = new AudioContext();
      this.decoder = new OfflineAudioContext(1, 1, SAMPLE_RATE);
      this.gain = this.audio.createGain();
      this.gain.gain.value = this.volume;
      const limiter = this.audio.createDynamicsCompressor();
      this.meter = this.audio.createAnalyser();
      this.meter.fftSize = 2048;
      this.gain.connect(limiter).connect(this.meter).connect(this.audio.destination);
    }

    /* How loud it is now, 0 to 1. */
    level() {
      if (!this.meter) return 0;
      const frames = new Float32Array(this.meter.fftSize);
      this.meter.getFloatTimeDomainData(frames);
      return Math.sqrt(frames.reduce((sum, value) => sum + value * value, 0) / frames.length);
    }

    setVolume(volume) {
      this.volume = volume;
      if (this.gain) this.gain.gain.setTargetAtTime(volume, this.audio.currentTime, 0.02);
    }

    setRate(rate) {
      const time = this.time;
      this.rate = rate;
      if (this.playing) this.restart(time);
    }

    address(note) {
      const [program, drums] = this.take.voices[note.voice];
      const name = NAMES[note.pitch % 12] + (Math.floor(note.pitch / 12) - 1);
      return `${this.base}/${drums ? "percussion" : this.instruments[program]}-mp3/${name}.mp3`;
    }

    /* The sample of a note: undefined while it is on its way, null where there is none. */
    sample(note) {
      const address = this.address(note), known = this.samples.has(address), sample = this.samples.get(address);
      // Those asked for last stand last.
      this.samples.delete(address);
      this.samples.set(address, sample);
      if (!known) {
        this.queue.push(address);
        this.load();
        for (const [old, content] of this.samples) {
          if (this.samples.size <= MOST_SAMPLES) break;
          if (content !== undefined) this.samples.delete(old);
        }
      }
      return sample;
    }

    load() {
      while (this.loading < AT_ONCE && this.queue.length) {
        const address = this.queue.shift();
        this.loading++;
        fetch(address)
          .then((answer) => (answer.ok ? answer.arrayBuffer() : Promise.reject(answer.status)))
          .then((content) => this.decoder.decodeAudioData(content))
          .catch((why) => (why === BUSY ? undefined : null))
          .then((sample) => {
            this.samples.set(address, sample);
            this.loading--;
            if (sample === undefined) setTimeout(() => { this.queue.push(address); this.load(); }, LATER);
            this.load();
          });
      }
    }

    async play() {
      if (!this.take?.notes.length || this.playing) return;
      this.open();
      await this.audio.resume();
      // Meanwhile somebody may have pressed again, or gone to another piece.
      if (!this.take?.notes.length || this.playing) return;
      if (this.position >= this.take.end - 0.05 && !this.piece.isGrowing) this.position = 0;
      this.playing = true;
      this.restart(this.position);
      this.timer = setInterval(() => this.tick(), TICK);
      this.tick();
    }

    /* Begin to play at a time, waiting first for what sounds soon. */
    restart(time) {
      this.hush();
      this.position = time;
      this.waiting = true;
      this.wanted = BEFORE;
      this.next = Math.max(0, music.until(this.take.notes, time - 1e-4) + 1);
    }

    stop() {
      if (!this.playing) return;
      this.position = this.time;
      this.playing = this.waiting = false;
      clearInterval(this.timer);
      this.hush();
      this.tell();
    }

    toggle() { if (this.playing) this.stop(); else this.play(); }

    seek(time) {
      if (this.playing) this.restart(time);
      this.position = time;
      this.tell();
    }

    hush() {
      for (const { gain, source } of this.sounding) {
        const now = this.audio.currentTime;
        gain.gain.cancelScheduledValues(now);
        gain.gain.setTargetAtTime(0, now, 0.015);
        source.stop(now + 0.12);
      }
      this.sounding.clear();
    }

    ready(from, until) {
      const { notes } = this.take;
      let all = true;
      for (let place = Math.max(0, this.next); place < notes.length && notes[place].start < until; place++)
        if (notes[place].start >= from && this.sample(notes[place]) === undefined) all = false;
      return all;
    }

    tick() {
      const take = this.take, time = this.time;
      if (!take) return this.stop();
      // Samples are asked for some seconds before they sound.
      this.ready(time, time + 12 * this.rate);
      const left = take.end - time, growing = this.piece.isGrowing;
      if (this.waiting) {
        if (this.ready(time, time + this.wanted) && (left > BUFFER || !growing)) {
          this.waiting = false;
          this.origin = this.audio.currentTime + 0.03;
        }
      } else if ((growing && left < 0.3) || !this.ready(time, time + AHEAD)) {
        this.position = time;
        this.waiting = true;
        this.wanted = 0.5;
      } else if (left < -0.2) {
        this.stop();
        this.position = 0;
        return this.tell();
      } else this.schedule(take, time);
      this.tell();
    }

    schedule(take, time) {
      const { notes } = take;
      for (; this.next < notes.length && notes[this.next].start < time + AHEAD * this.rate; this.next++) {
        const note = notes[this.next], sample = this.sample(note);
        if (!sample || this.piece.muted.has(music.voice(take.voices[note.voice]))) continue;
        const begin = Math.max(this.audio.currentTime, this.origin + (note.start - this.position) / this.rate);
        const end = begin + Math.max(0.06, (note.end - note.start) / this.rate);
        const source = this.audio.createBufferSource(), gain = this.audio.createGain();
        source.buffer = sample;
        gain.gain.setValueAtTime(1.6 * (note.velocity / 100) ** 2, begin);
        gain.gain.setTargetAtTime(0, end, RELEASE / 3);
        source.connect(gain).connect(this.gain);
        source.start(begin);
        source.stop(end + RELEASE * 2);
        const sound = { source, gain };
        this.sounding.add(sound);
        source.onended = () => this.sounding.delete(sound);
      }
    }

    tell() { this.piece.tell("time", { time: this.time, playing: this.playing, waiting: this.waiting }); }
  }

  /* Who plays, each with a colour; a click mutes. */
  function voices(element, piece, instruments) {
    let shown = "";
    const name = ([program, drums]) => (drums ? "drums" : instruments[program].replaceAll("_", " "));
    const look = () => {
      const players = piece.take?.voices ?? [];
      const key = JSON.stringify([players, [...piece.muted], document.body.classList.contains("dark")]);
      if (key === shown) return;
      shown = key;
      element.replaceChildren(...(players.length < 2 ? [] : players).map((player, place) => {
        const made = make("button", "rm-voice", "", { type: "button", title: "Mute or hear again" }), dot = make("i");
        dot.style.background = music.colour(place, player[1]);
        made.append(dot, make("span", "", name(player)));
        const mute = music.voice(player);
        made.setAttribute("aria-pressed", String(!piece.muted.has(mute)));
        made.addEventListener("click", () => {
          if (!piece.muted.delete(mute)) piece.muted.add(mute);
          piece.tell("mute");
        });
        return made;
      }));
    };
    for (const kind of ["music", "show", "mute"]) piece.addEventListener(kind, look);
    look();
  }

  /* The bar of buttons: play, where one is, how fast, how loud. */
  function controls(element, piece, options) {
    const player = new Player(piece, options);
    const play = make("button", "rm-play", "", { type: "button", "aria-label": "Play", title: "Play or stop (Space)" });
    const icon = make("span", "rm-icon rm-icon-play", "", { "aria-hidden": "true" });
    play.append(icon);
    const clock = make("span", "rm-clock", "0:00 / 0:00");
    const seek = make("input", "rm-seek", "", { type: "range", min: "0", max: "1000", value: "0", "aria-label": "Where in the piece" });
    const said = make("span", "rm-buffer", "", { "aria-live": "polite" });
    const rate = make("input", "rm-rate", "", { type: "range", min: "50", max: "150", step: "5", value: "100", "aria-label": "Tempo in percent", title: "Tempo" });
    const rated = make("span", "rm-small", "100 %");
    const volume = make("input", "rm-volume", "", { type: "range", min: "0", max: "100", value: "90", "aria-label": "Volume", title: "Volume" });
    const level = make("span", "rm-level", "", { "aria-hidden": "true" });
    level.append(make("i"));
    const slow = make("label", "rm-field"), loud = make("label", "rm-field");
    slow.append(make("span", "rm-small", "Tempo"), rate, rated);
    loud.append(make("span", "rm-small", "Volume"), volume, level);
    const players = make("div", "rm-voices", "", { role: "group", "aria-label": "Players" });
    element.append(play, clock, seek, said, slow, loud, players);
    voices(players, piece, options.instruments);
    play.addEventListener("click", () => player.toggle());
    seek.addEventListener("input", () => player.seek((Number(seek.value) / 1000) * (piece.take?.end ?? 0)));
    rate.addEventListener("input", () => { rated.textContent = `${rate.value} %`; player.setRate(Number(rate.value) / 100); });
    volume.addEventListener("input", () => player.setVolume(Number(volume.value) / 100));
    const look = ({ time, playing, waiting }) => {
      const end = piece.take?.end ?? 0;
      clock.textContent = `${music.clock(Math.min(time, end))} / ${music.clock(end)}`;
      seek.value = String(end ? Math.round((time / end) * 1000) : 0);
      icon.className = `rm-icon ${playing ? "rm-icon-stop" : "rm-icon-play"}`;
      play.setAttribute("aria-label", playing ? "Stop playing" : "Play");
      play.disabled = !piece.take?.notes.length;
      const ahead = piece.isGrowing && playing ? `${Math.max(0, end - time).toFixed(1)} s ahead` : "";
      const words = playing && waiting ? (piece.isGrowing ? "waiting for music" : "loading sounds") : ahead;
      if (said.textContent !== words) said.textContent = words;
      level.firstChild.style.transform = `scaleX(${playing ? Math.min(1, player.level() * 4) : 0})`;
    };
    piece.addEventListener("time", (event) => look(event.detail));
    for (const kind of ["music", "show"]) piece.addEventListener(kind, () => look({ time: player.time, playing: player.playing, waiting: player.waiting }));
    look({ time: 0, playing: false, waiting: false });
    piece.player = player;
    return player;
  }

  music.player = controls;
})();
