// The metric against cost, a marker a point. Arrow keys go from point to point, Enter selects.

let cost = Object.keys(UNITS)[0];
const FRONT_LABEL = `${capital(METRIC.name)} of the integers against cost`;

const hasCost = (point) => point.costs[cost]?.found > 0 && shown(point) !== null;

function frontSection() {
  if (!POINTS.length)
    return section("front", "Front", html("p", {}, "No architecture has been measured yet: the run is unfinished."));
  if (POINTS.length < 2) return document.getElementById("front").replaceChildren();
  const tested = POINTS.filter((point) => point.exported && isTested(point)).length;
  section(
    "front",
    `${capital(METRIC.name)} and cost`,
    html(
      "p",
      {},
      `Every point is a whole network, lowered to integers. ${capital(METRIC.name)} is that of the integers`,
      tested
        ? " on test data. Networks are chosen on validation data, so the line of the front may fall where cost rises."
        : " on validation data: there is no test data in these runs.",
      POINTS.some((point) => point.knee) ? ` From the knee of a front on, less cost takes more ${METRIC.name}.` : "",
    ),
    costChoice(),
    html("div", { id: "front-figure" }, ...frontFigure()),
    html("p", { class: "which", id: "chosen", "aria-live": "polite" }),
  );
}

const frontFigure = () => [figure(FRONT_LABEL, drawFront, { class: "chart tall" }), frontLegend()];

function costChoice() {
  const choose = (name) => {
    cost = name;
    document.getElementById("front-figure").replaceChildren(...frontFigure());
  };
  const choices = Object.keys(UNITS).map((name) =>
    html(
      "label",
      {},
      html("input", {
        type: "radio",
        name: "cost",
        value: name,
        checked: name === cost ? "" : null,
        on: { change: () => choose(name) },
      }),
      html("span", {}, capital(costName(name))),
    ),
  );
  return html("fieldset", { class: "choice" }, html("legend", {}, "Cost"), choices);
}

// Of what is drawn alone.
function frontLegend() {
  const drawn = POINTS.filter(hasCost);
  const key = (look, words) => html("li", {}, html("span", { class: `key ${look}` }), words);
  const has = (test) => drawn.some(test);
  return html(
    "ul",
    { class: "legend" },
    RIVALS.map((name, i) => (has((point) => rivalOf(RUNS[point.run]) === i) ? html("li", {}, swatch(i), name) : null)),
    DATA.fronts[cost].length > 1 ? key("line", "front: none as good on validation data for less") : null,
    drawn.length && floatValue() !== null
      ? key("line dashed", `float network${RUNS.length > 1 ? "s, mean" : ""}: ${scored(floatValue())}`)
      : null,
    budgetsOf(drawn).length ? key("line dotted", "budget") : null,
    has(isTested) && has((point) => point.exported && !isTested(point))
      ? key("hollow", "no test data: on validation data")
      : null,
    has((point) => !point.exported) ? key("faint", "measured on the way, on validation data") : null,
  );
}

function drawFront(width, label) {
  const points = POINTS.filter(hasCost);
  const height = Math.round(Math.min(460, Math.max(300, width * 0.5)));
  const plot = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });
  if (!points.length)
    return fill(plot, {}, [svg("text", { x: 0, y: 20 }, `No point has a figure for ${costName(cost)}.`)]);
  const values = [...points.map(shown), ...(floatValue() === null ? [] : [floatValue()])];
  const ys = within(values, ...extent(values, 0.12, 0.02));
  const left = roomFor(ticks(...ys, 6), scoredTick);
  const x = costAxis(points, [left, width - 14]);
  const lanes = laned(budgetsOf(points), x, width);
  const frame = { left, top: 34 + LANE * lanes.length, right: width - 14, bottom: height - 44 };
  const y = {
    scale: linear(ys, [frame.bottom, frame.top]),
    ticks: ticks(...ys, 6),
    text: scoredTick,
    title: metricTitle(" of the integers"),
  };
  const order = [...points].sort((a, b) => a.costs[cost].found - b.costs[cost].found || shown(a) - shown(b));
  const marks = order.map((point) => marker(point, x, y));
  const group = svg(
    "g",
    { role: "radiogroup", "aria-label": "Points of the front", on: { keydown: (event) => walk(event, marks) } },
    [...marks].sort((a, b) => Number(a.dataset.exported) - Number(b.dataset.exported)),
  );
  fill(plot, {}, [axes(frame, x, y), budgetLines(lanes, x, frame), floatLine(y, frame), frontLine(x, y), group]);
  settleTabs(marks);
  return plot;
}

function costAxis(points, range) {
  const costs = points.map((point) => point.costs[cost].found);
  const spread = Math.max(Math.log(Math.max(...costs) / Math.min(...costs)), 0.7);
  const domain = [Math.min(...costs) * Math.exp(-0.07 * spread), Math.max(...costs) * Math.exp(0.07 * spread)];
  return {
    domain,
    scale: logarithmic(domain, range),
    ticks: logTicks(...domain, UNITS[cost], Math.floor((range[1] - range[0]) / 58)),
    text: (v) => quantity(v, UNITS[cost]),
    title: `${capital(costName(cost))}, log scale`,
  };
}

function marker(point, x, y) {
  const index = POINTS.indexOf(point),
    rival = rivalOf(RUNS[point.run]);
  const over = Object.values(point.promises).some((promise) => !promise.met);
  const name = `${pointName(point)}: ${splitName(point)} ${METRIC.name} ${scored(shown(point))}, ${costName(cost)} ${exact(point.costs[cost].found, UNITS[cost])}${over ? ", over budget" : ""}`;
  const classes = [
    "point",
    `r${rival % SHAPES.length}`,
    isTested(point) ? "" : "hollow",
    point.exported ? "" : "faint",
  ].join(" ");
  const show = () => showTip([pointName(point), ...tipLines(point)], mark);
  const mark = svg(
    "g",
    {
      class: classes,
      role: "radio",
      "aria-checked": "false",
      "aria-label": name,
      "data-index": index,
      "data-exported": Number(point.exported),
      transform: `translate(${x.scale(point.costs[cost].found)},${y.scale(shown(point))})`,
      on: {
        click: () => {
          select(index);
          show();
        },
        mouseenter: show,
        mouseleave: hideTip,
        focus: show,
        blur: hideTip,
      },
    },
    svg("circle", { class: "hit", r: 13 }),
    svg("circle", { class: "ring", r: 11 }),
    svg("path", { class: "mark", d: shape(rival, point.exported ? 6 : 4) }),
  );
  return mark;
}

function tipLines(point) {
  const scores = ["test", "val"]
    .filter((split) => integers(point, split) !== null)
    .map((split) => `${SPLITS[split]} ${scored(integers(point, split))}`);
  const costs = Object.entries(point.costs).map(
    ([name, value]) => `${capital(costName(name))} ${exact(value.found, value.unit)}`,
  );
  return [
    `Integers: ${scores.join(", ")}`,
    ...costs,
    point.exported ? "Enter or click chooses the network" : "Measured, not exported",
  ];
}

// One point takes the Tab key, the selected one or the first; arrows reach the others.
function settleTabs(marks) {
  const chosen = marks.find((mark) => Number(mark.dataset.index) === selected) ?? marks[0];
  for (const mark of marks) {
    mark.setAttribute("tabindex", mark === chosen ? 0 : -1);
    mark.setAttribute("aria-checked", String(Number(mark.dataset.index) === selected));
  }
}

function walk(event, marks) {
  const at = marks.indexOf(document.activeElement);
  const steps = {
    ArrowRight: at + 1,
    ArrowDown: at + 1,
    ArrowLeft: at - 1,
    ArrowUp: at - 1,
    Home: 0,
    End: marks.length - 1,
  };
  if (event.key in steps) {
    marks[Math.min(Math.max(steps[event.key], 0), marks.length - 1)].focus();
  } else if (event.key === "Enter" || event.key === " ") {
    select(Number(marks[at].dataset.index));
  } else return;
  event.preventDefault();
}

const frontMarks = () =>
  [...document.querySelectorAll("#front .point")].sort(
    (a, b) => POINTS[a.dataset.index].costs[cost].found - POINTS[b.dataset.index].costs[cost].found,
  );

function frontLine(x, y) {
  const path = DATA.fronts[cost].map((i) => `${x.scale(POINTS[i].costs[cost].found)},${y.scale(shown(POINTS[i]))}`);
  return svg("polyline", { class: "front-line", points: path.join(" ") });
}

const budgetsOf = (points) =>
  [...new Set(points.map((point) => point.budgets[cost]).filter(Boolean))].sort((a, b) => a - b);

const LANE = 15,
  MOST_LANES = 3;

// Names of budgets stand above the plot, where no point is, in as many lanes as keep them off each other. What finds no
// room has its line and no name.
function laned(values, x, width) {
  const lanes = [];
  for (const value of values.filter((each) => each > x.domain[0] && each < x.domain[1])) {
    const text = exact(value, UNITS[cost]),
      half = textWidth(text) / 2;
    const middle = Math.min(Math.max(x.scale(value), half), width - half);
    const free = lanes.findIndex((lane) => lane.at(-1).end + 10 < middle - half);
    const entry = { value, text, middle, end: middle + half };
    if (free >= 0) lanes[free].push(entry);
    else if (lanes.length < MOST_LANES) lanes.push([entry]);
    else lanes.at(-1).push({ ...entry, text: "", end: lanes.at(-1).at(-1).end });
  }
  return lanes;
}

function budgetLines(lanes, x, frame) {
  return lanes.flatMap((lane, i) =>
    lane.map(({ value, text, middle }) => {
      const at = x.scale(value),
        base = frame.top - 15 - LANE * i; // above the ring of a point at the edge
      return svg(
        "g",
        { class: "budget", "aria-hidden": "true" },
        svg("line", { x1: at, x2: at, y1: base + 3, y2: frame.bottom }),
        svg("text", { x: middle, y: base, "text-anchor": "middle" }, text),
      );
    }),
  );
}

function floatValue() {
  const found = POINTS.map((point) => point.scores.float?.test ?? point.scores.float?.val).filter(
    (value) => value !== undefined && value !== null,
  );
  return found.length ? found.reduce((a, b) => a + b) / found.length : null;
}

// Its name and value stand in the legend, where they lie on no point.
function floatLine(y, frame) {
  const value = floatValue();
  if (value === null) return null;
  const at = y.scale(value);
  return svg("line", { class: "float", "aria-hidden": "true", x1: frame.left, x2: frame.right, y1: at, y2: at });
}
