/* The sheet of a performance: windows of bars that the server engraves, copied into the page part by known part. */
(() => {
  "use strict";
  const music = window.rwkvMusic;
  if (music.engraved) return;

  const SVG = "http://www.w3.org/2000/svg";
  // All that an engraving needs. Whatever else a drawing holds stays out of the page, its children with it.
  const ELEMENTS = new Set(["svg", "g", "defs", "symbol", "use", "path", "rect", "polygon", "polyline", "line", "ellipse", "circle", "text", "tspan"]);
  const ATTRIBUTES = new Set(
    ("class d x y x1 y1 x2 y2 dx dy cx cy r rx ry width height viewBox points transform text-anchor font-size font-style font-weight"
      + " font-family fill fill-opacity stroke stroke-width stroke-opacity stroke-linecap stroke-linejoin stroke-dasharray opacity overflow").split(" "));
  // The engraver's own letters, for which it would have brought a font.
  const LETTERS = { "\uECA5": "♩", "\uECA7": "♪", "\uECB7": "." };
  let drawings = 0;

  /* A copy of a part of a drawing, as far as it is known to be harmless; names in it begin with `prefix`. */
  function copy(part, prefix) {
    const made = document.createElementNS(SVG, part.localName);
    for (const { localName, value } of part.attributes) {
      if (ATTRIBUTES.has(localName)) made.setAttribute(localName, value);
      // Glyphs are drawn once and used by their names; a link leads nowhere else.
      else if (localName === "id" && part.closest("defs")) made.setAttribute("id", prefix + value);
      else if (localName === "href" && value.startsWith("#") && part.localName === "use") made.setAttribute("href", `#${prefix}${value.slice(1)}`);
    }
    for (const child of part.childNodes)
      if (child.nodeType === Node.TEXT_NODE) { if (child.data.trim()) made.append(child.data.replace(/[\uE000-\uF8FF]/g, (letter) => LETTERS[letter] ?? "")); }
      else if (child.namespaceURI === SVG && ELEMENTS.has(child.localName) && !child.classList.contains("placeholder")) made.append(copy(child, prefix));
    return made;
  }

  /* An SVG as text, as an element that is as wide as there is room. Null for what is none. */
  function picture(text) {
    const root = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    if (root.namespaceURI !== SVG || root.localName !== "svg") return null;
    const made = copy(root, `rm${++drawings}-`);
    const [width, height] = [parseFloat(made.getAttribute("width")), parseFloat(made.getAttribute("height"))];
    if (width > 0 && height > 0) made.setAttribute("viewBox", `0 0 ${width} ${height}`);
    for (const name of ["width", "height"]) made.removeAttribute(name);
    made.setAttribute("class", "rm-engraved");
    return made;
  }

  /* Leaves of the sheet of a take, so many pixels wide. */
  function leaves(piece, take, width) {
    const { session, shown } = piece;
    return take.windows.map((told, number) => ({
      key: `${session} ${shown} ${number} ${told.name} ${width}`, first: told.first, lines: told.starts.length / 4,
      draw: async (leaf) => {
        const answer = await fetch(`studio/take/${session}/${shown}/sheet/${number}?width=${width}`);
        const { svg, error } = answer.ok ? await answer.json() : { error: `the sheet does not come (${answer.status})` };
        const drawn = svg ? picture(svg) : null;
        if (!drawn) {
          leaf.say(`Not on the sheet: ${error ?? "this cannot be drawn"}`);
          return [];
        }
        leaf.take(drawn);
        return [...drawn.querySelectorAll("g.measure")].map((bar, nth) => ({ start: -1, voice: "", bar: told.first + nth, length: 1, drawn: [bar] }));
      },
    }));
  }

  music.engraved = { leaves, picture };
})();
