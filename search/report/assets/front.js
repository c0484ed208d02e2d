// The metric against cost, a marker a point. Arrow keys go from point to point, Enter selects.

let cost = Object.keys(UNITS)[0];
const FRONT_LABEL = `${capital(METRIC.name)} of the integers against cost`;

const hasCost = (point) => point.costs[cost]?.found > 0 && shown(point) !== null;

function frontSection() {
  if (!POINTS.length)
    return section("front", "Front", html("p", {}, "No architecture has been measured yet: the run is unfinished."));
  const tested = POINTS.filter((point) => point.exported && isTested(point)).length;
  const untested = POINTS.filter((point) => point.exported && !isTested(point)).length;
  section(
    "front",
    `${capital(METRIC.name)} and cost`,
    html(
      "p",
      {},
      `Every point is a whole network, lowered to integers. ${capital(METRIC.name)} is that of the integers`,
      tested
        ? " on test data; which points make the front (the line) was settled on validation data alone."
        : " on validation data: there is no test data in these runs.",
      tested && untested ? " Hollow markers are points without test data, at what they reach on validation data." : "",
    ),
    costChoice(),
    figure(FRONT_LABEL, drawFront, { class: "chart tall" }),
    frontLegend(),
  );
}

function costChoice() {
  const choices = Object.keys(UNITS).map((name) =>
    html(
      "label",
      {},
      html("input", {
        type: "radio",
        name: "cost",
        value: name,
        checked: name === cost ? "" : null,
        on: {
          change: () => {
            cost = name;
            document
              .querySelector("#front .chart")
              .replaceWith(figure(FRONT_LABEL, drawFront, { class: "chart tall" }));
          },
        },
      }),
      html("span", {}, costName(name)),
    ),
  );
  return html("fieldset", { class: "choice" }, html("legend", {}, "Cost"), choices);
}

function frontLegend() {
  const items = RIVALS.map((name, i) => html("li", {}, swatch(i), name));
  const measured = POINTS.some((point) => !point.exported);
  return html(
    "ul",
    { class: "legend" },
    items,
    html("li", {}, html("span", { class: "key line" }), "front of all"),
    measured ? html("li", {}, html("span", { class: "key faint" }), "measured on the way, on validation data") : null,
  );
}

function drawFront(width, label) {
  const points = POINTS.filter(hasCost);
  const height = Math.round(Math.min(460, Math.max(300, width * 0.5)));
  const frame = { left: 46, top: 26, right: width - 14, bottom: height - 44 };
  const plot = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });
  if (!points.length)
    return fill(plot, {}, [svg("text", { x: 0, y: 20 }, `No point has a figure for ${costName(cost)}.`)]);
  const [x, y] = frontScales(points, frame);
  const order = [...points].sort((a, b) => a.costs[cost].found - b.costs[cost].found || shown(a) - shown(b));
  const marks = order.map((point) => marker(point, x, y));
  const group = svg(
    "g",
    { role: "radiogroup", "aria-label": "Points of the front", on: { keydown: (event) => walk(event, marks) } },
    [...marks].sort((a, b) => Number(a.dataset.exported) - Number(b.dataset.exported)),
  );
  fill(plot, {}, [
    axes(frame, x, y),
    budgetLines(points, x, frame),
    floatLine(points, x, y, frame),
    frontLine(x, y),
    group,
  ]);
  settleTabs(marks);
  return plot;
}

function frontScales(points, frame) {
  const costs = points.map((point) => point.costs[cost].found);
  const values = [...points.map(shown), ...(floatValue() ? [floatValue()] : [])];
  const [low, high] = extent(values, 0.12, 0.02);
  const spread = Math.max(Math.log(Math.max(...costs) / Math.min(...costs)), 0.7);
  const xs = [Math.min(...costs) * Math.exp(-0.07 * spread), Math.max(...costs) * Math.exp(0.07 * spread)];
  const domain = costs.length === 1 ? [costs[0] / 2, costs[0] * 2] : xs;
  const ys = within(values, low, high);
  const x = {
    scale: logarithmic(domain, [frame.left, frame.right]),
    ticks: logTicks(...domain, UNITS[cost], Math.floor((frame.right - frame.left) / 58)),
    text: (v) => quantity(v, UNITS[cost]),
    title: `${costName(cost)}, log scale`,
  };
  const y = {
    scale: linear(ys, [frame.bottom, frame.top]),
    ticks: ticks(...ys, 6),
    text: scoredTick,
    title: metricTitle(" of the integers"),
  };
  return [x, y];
}

function marker(point, x, y) {
  const index = POINTS.indexOf(point),
    rival = rivalOf(RUNS[point.run]);
  const over = Object.entries(point.budgets).some(([name, limit]) => point.costs[name]?.found > limit);
  const name = `${pointName(point)}: ${splitName(point)} ${METRIC.name} ${scored(shown(point))}, ${costName(cost)} ${quantity(point.costs[cost].found, UNITS[cost])}${over ? ", over budget" : ""}`;
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
    .map((split) => `${split} ${scored(integers(point, split))}`);
  const costs = Object.entries(point.costs).map(
    ([name, value]) => `${costName(name)} ${quantity(value.found, value.unit)}`,
  );
  return [
    `Integers: ${scores.join(", ")}`,
    costs.join(" · "),
    point.exported ? "Enter or click shows the network" : "Measured, not exported",
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

function budgetLines(points, x, frame) {
  const values = [...new Set(points.map((point) => point.budgets[cost]).filter(Boolean))];
  return values
    .filter((value) => x.scale(value) > frame.left && x.scale(value) < frame.right)
    .map((value) =>
      svg(
        "g",
        { class: "budget", "aria-hidden": "true" },
        svg("line", { x1: x.scale(value), x2: x.scale(value), y1: frame.top - 6, y2: frame.bottom }),
        svg(
          "text",
          {
            x: x.scale(value) - 4,
            y: frame.bottom - 6,
            "text-anchor": "start",
            transform: `rotate(-90 ${x.scale(value) - 4} ${frame.bottom - 6})`,
          },
          `budget ${quantity(value, UNITS[cost])}`,
        ),
      ),
    );
}

function floatValue() {
  const found = POINTS.map((point) => point.scores.float?.test ?? point.scores.float?.val).filter(
    (value) => value !== undefined && value !== null,
  );
  return found.length ? found.reduce((a, b) => a + b) / found.length : null;
}

// Its name stands on the side with fewer points.
function floatLine(points, x, y, frame) {
  const value = floatValue();
  if (value === null) return null;
  const height = y.scale(value),
    middle = (frame.left + frame.right) / 2;
  const near = points
    .filter((point) => Math.abs(y.scale(shown(point)) - height + 8) < 20)
    .map((point) => x.scale(point.costs[cost].found));
  const atLeft = near.filter((at) => at < middle).length < near.filter((at) => at >= middle).length;
  return svg(
    "g",
    { class: "float", "aria-hidden": "true" },
    svg("line", { x1: frame.left, x2: frame.right, y1: height, y2: height }),
    svg(
      "text",
      { x: atLeft ? frame.left + 4 : frame.right, y: height - 5, "text-anchor": atLeft ? "start" : "end" },
      `float network${RUNS.length > 1 ? "s, mean" : ""} ${scored(value)}`,
    ),
  );
}
