// Elements, scales and axes. All text goes in as text: nothing of a run is taken for markup.

const NAMESPACE = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
    else if (value !== null && value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

const html = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) =>
  fill(document.createElementNS(NAMESPACE, name), attributes, children);

// What a section holds is made anew; its title stays what the section is labelled by.
function section(id, title, ...children) {
  document
    .getElementById(id)
    .replaceChildren(
      html("h2", { id: `${id}-title`, tabindex: -1 }, title),
      ...children.flat(Infinity).filter(Boolean),
    );
}

const DRAWN = new Set();

// A figure that is drawn for the width it has, and again when that or the theme changes.
function figure(label, draw, attributes = {}) {
  const box = html("div", { class: "chart", ...attributes });
  let drawn = 0;
  const redraw = () => {
    drawn = box.clientWidth;
    if (drawn) box.replaceChildren(draw(drawn, label));
  };
  new ResizeObserver(() => box.clientWidth !== drawn && redraw()).observe(box);
  for (const other of DRAWN) if (!other.box.isConnected && other.seen) DRAWN.delete(other);
  DRAWN.add({
    box,
    redraw,
    get seen() {
      return drawn > 0;
    },
  });
  return box;
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const { box, redraw } of DRAWN) if (box.isConnected) redraw();
});

const linear =
  ([from, to], [start, end]) =>
  (value) =>
    start + ((value - from) / (to - from || 1)) * (end - start);
const logarithmic = ([from, to], range) => {
  const scale = linear([Math.log(from), Math.log(to)], range);
  return (value) => scale(Math.log(value));
};

// Round numbers, about `count` of them, that cover what lies between.
function ticks(from, to, count) {
  const raw = (to - from) / Math.max(1, count) || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= raw * 0.999);
  const found = [];
  for (let i = Math.ceil(from / step - 1e-9); i * step <= to + step * 1e-9; i++)
    found.push(Number((i * step).toPrecision(12)));
  return found;
}

// Round in a log scale: of bytes powers of two and what divides their gaps, of all else powers of ten; the most that fit.
const FACTORS = { 2: [[1, 1.25, 1.5, 1.75], [1, 1.5], [1]], 10: [[1, 2, 3, 4, 5, 6, 8], [1, 2, 5], [1]] };

function logTicks(from, to, unit, most) {
  const base = unit === "B" ? 2 : 10;
  const powers = Array.from({ length: 60 }, (_, i) => base ** (i - 3));
  const sets = FACTORS[base].map((factors) =>
    powers.flatMap((power) => factors.map((factor) => factor * power)).filter((tick) => tick >= from && tick <= to),
  );
  const least = sets.at(-1),
    step = Math.ceil(least.length / most);
  return sets.find((set) => set.length <= most) ?? least.filter((_, i) => i % step === 0);
}

function extent(values, room, least = 0) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const spread = Math.max(high - low, least);
  return [low - room * spread, high + room * spread];
}

// About how wide a text of a figure is, in pixels; no less than it is.
const textWidth = (text) => 7 * String(text).length;
// Where a plot begins, so that the numbers of its axis have room on the left.
const roomFor = (values, text) => 14 + Math.max(18, ...values.map((value) => textWidth(text(value))));

// Grid, ticks and titles of a plot. `x` and `y`: {scale, ticks, text, title}.
function axes(frame, x, y) {
  const { left, top, right, bottom } = frame;
  const grid = y.ticks.map((tick) =>
    svg("line", { class: "grid", x1: left, x2: right, y1: y.scale(tick), y2: y.scale(tick) }),
  );
  const marks = x.ticks.map((tick) =>
    svg("line", { class: "tick", x1: x.scale(tick), x2: x.scale(tick), y1: bottom, y2: bottom + 4 }),
  );
  const inside = (tick) => Math.min(x.scale(tick), right + 8 - textWidth(x.text(tick)) / 2);
  const numbers = [
    ...y.ticks.map((tick) => svg("text", { x: left - 8, y: y.scale(tick) + 4, "text-anchor": "end" }, y.text(tick))),
    ...x.ticks.map((tick) => svg("text", { x: inside(tick), y: bottom + 18, "text-anchor": "middle" }, x.text(tick))),
  ];
  const base = svg("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom });
  const titles = [
    y.title ? svg("text", { class: "title", x: 0, y: 12 }, y.title) : null,
    x.title ? svg("text", { class: "title", x: right, y: bottom + 36, "text-anchor": "end" }, x.title) : null,
  ];
  return svg("g", { class: "axes", "aria-hidden": "true" }, grid, base, marks, numbers, titles);
}

// Shapes of about one area, so that colour is not all that tells rivals apart.
const SHAPES = [
  (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0z`,
  (r) => `M${-r * 0.88},${-r * 0.88}h${r * 1.76}v${r * 1.76}h${-r * 1.76}z`,
  (r) => `M0,${-r * 1.25}L${r * 1.15},${r * 0.85}H${-r * 1.15}z`,
  (r) => `M0,${-r * 1.3}L${r * 1.3},0L0,${r * 1.3}L${-r * 1.3},0z`,
  (r) => `M0,${r * 1.25}L${r * 1.15},${-r * 0.85}H${-r * 1.15}z`,
  (r) =>
    `M${-r * 0.4},${-r * 1.1}h${r * 0.8}v${r * 0.7}h${r * 0.7}v${r * 0.8}h${-r * 0.7}v${r * 0.7}h${-r * 0.8}v${-r * 0.7}h${-r * 0.7}v${-r * 0.8}h${r * 0.7}z`,
  (r) => `M${-r * 1.2},${-r * 0.45}L0,${-r * 1.25}L${r * 1.2},${-r * 0.45}L${r * 0.75},${r}H${-r * 0.75}z`,
];
const shape = (rival, size) => SHAPES[rival % SHAPES.length](size);
const swatch = (rival) =>
  svg(
    "svg",
    { class: `swatch r${rival % SHAPES.length}`, viewBox: "-8 -8 16 16", "aria-hidden": "true" },
    svg("path", { class: "mark", d: shape(rival, 5) }),
  );

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

const TIP = document.getElementById("tip");

function showTip(lines, near) {
  TIP.replaceChildren(...lines.map((line, i) => html(i ? "div" : "strong", {}, line)));
  TIP.hidden = false;
  const box = near.getBoundingClientRect();
  const own = TIP.getBoundingClientRect();
  const left = Math.min(
    Math.max(8, box.left + box.width / 2 - own.width / 2),
    document.documentElement.clientWidth - own.width - 8,
  );
  const above = box.top - own.height - 10;
  TIP.style.left = `${left + scrollX}px`;
  TIP.style.top = `${(above > 4 ? above : box.bottom + 10) + scrollY}px`;
}

const hideTip = () => {
  TIP.hidden = true;
};
