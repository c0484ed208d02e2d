// Training curves of the chosen run; a crosshair, by mouse or arrow keys, reads them off.

function curvesSection(run) {
  if (!run.curves.epochs.length) {
    return section(
      "curves",
      "Training",
      html(
        "p",
        {},
        `There is no ${run.historyFile} in ${run.folder} that can be read: the run was made before there was one, or no epoch was completed.`,
      ),
    );
  }
  const { scalars } = run.curves;
  const pick = (...names) => names.filter((name) => scalars[name]);
  const costs = Object.keys(scalars).filter((name) => name.startsWith("cost/"));
  const charts = [
    {
      title: metricTitle(""),
      series: pick(`${METRIC.name}/train`, `${METRIC.name}/val`),
      value: (v) => METRIC.factor * v,
      text: (v) => `${v.toFixed(METRIC.digits)}${METRIC.unit}`,
      tick: String,
      highest: METRIC.highest === null ? Infinity : 1.01 * METRIC.factor * METRIC.highest,
    },
    {
      title: "Loss on training data",
      series: pick("loss/train"),
      value: (v) => v,
      text: (v) => v.toPrecision(4),
      tick: String,
    },
    {
      title: `Expected cost, % of the ${run.yardstick.of}, log scale`,
      series: costs.filter((name) => run.yardstick.costs[name.slice(5)]),
      named: true,
      value: (v, name) => (100 * v) / run.yardstick.costs[name.slice(5)],
      text: (v) => `${v.toFixed(1)}%`,
      tick: String,
      line: 100,
      log: true,
    },
    {
      title: "Weight of each cost in the loss",
      series: Object.keys(scalars).filter((name) => name.startsWith("force/")),
      named: true,
      value: (v) => v,
      text: (v) => v.toPrecision(3),
      tick: String,
    },
  ]
    .map((chart) => ({ ...chart, series: chart.series.filter((name) => scalars[name].some((v) => v !== null)) }))
    .filter((chart) => chart.series.length);
  const weights = charts.some((chart) => chart.series[0].startsWith("force/"))
    ? " The weight of a cost is the loss that costs as high as the seed network's would add; it rises while the search is above a budget."
    : "";
  section(
    "curves",
    "Training",
    html(
      "p",
      {},
      `Each epoch once. In the search ${METRIC.name} is that of the network as its decisions stand, in the last epochs of fine-tuning that of the integers. Arrow keys read a curve off.${weights}`,
    ),
    html(
      "div",
      { class: "charts" },
      charts.map((chart) => curveFigure(run, chart)),
    ),
  );
}

function curveFigure(run, chart) {
  const legend = html(
    "ul",
    { class: "legend" },
    chart.series.map((name, i) => html("li", {}, html("span", { class: `key stroke s${i % 4}` }), seriesName(name))),
  );
  return html(
    "figure",
    {},
    html("figcaption", {}, chart.title),
    chart.series.length > 1 || chart.named ? legend : null,
    figure(chart.title, (width, label) => drawCurves(width, label, run, chart)),
  );
}

function seriesName(name) {
  const [kind, what] = name.split("/");
  return kind === "cost" || kind === "force" ? capital(costName(what)) : (SPLITS[what] ?? name);
}

function drawCurves(width, label, run, chart) {
  const { epochs, scalars } = run.curves,
    height = 210;
  const rows = chart.series.map((name) => scalars[name].map((v) => (v === null ? null : chart.value(v, name))));
  const known = rows.flat().filter((v) => v !== null);
  const [top, bottom] = [22, height - 40];
  const y = verticalAxis(chart, known, [bottom, top]);
  const frame = { left: roomFor(y.ticks, y.text), top, right: width - 8, bottom };
  const last = Math.max(epochs.at(-1), 1),
    first = epochs[0] === last ? 0 : epochs[0];
  const x = {
    scale: linear([first, last], [frame.left + 6, frame.right - 6]),
    ticks: ticks(first + 1, last + 1, width / 90)
      .filter(Number.isInteger)
      .map((v) => v - 1),
    text: (v) => v + 1,
    title: "epoch",
  };
  const plot = svg("svg", {
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    tabindex: 0,
    "aria-label": `${label} over epochs. ${curveWords(chart, rows)}`,
  });
  const limit = chart.line
    ? svg("line", { class: "limit", x1: frame.left, x2: frame.right, y1: y.scale(chart.line), y2: y.scale(chart.line) })
    : null;
  const cross = svg("line", { class: "cross", y1: frame.top, y2: frame.bottom, visibility: "hidden" });
  fill(plot, {}, [
    phaseBands(run, x, frame),
    axes(frame, x, y),
    limit,
    rows.map((row, i) => curve(row, epochs, x, y, i)),
    cross,
  ]);
  readOff(plot, cross, epochs, x, (i) => [
    `epoch ${epochs[i] + 1}, ${phaseAt(run, epochs[i])}`,
    ...rows
      .map((row, s) => (row[i] === null ? null : `${seriesName(chart.series[s])} ${chart.text(row[i])}`))
      .filter(Boolean),
  ]);
  return plot;
}

function verticalAxis(chart, known, range) {
  const values = chart.line ? [...known, chart.line] : known;
  if (chart.log && Math.min(...values) > 0) {
    const domain = [Math.min(...values) / 1.1, Math.max(...values) * 1.1];
    return { scale: logarithmic(domain, range), ticks: logTicks(...domain, "%", 6), text: chart.tick };
  }
  const [low, high] = extent(values, 0.06, Math.abs(known[0]) * 1e-3 || 1e-3);
  const domain = [Math.min(...known) >= 0 ? Math.max(0, low) : low, Math.min(chart.highest ?? Infinity, high)];
  return { scale: linear(domain, range), ticks: ticks(...domain, 5), text: chart.tick };
}

const curveWords = (chart, rows) =>
  rows
    .map((row, i) => `${seriesName(chart.series[i])} ends at ${chart.text(row.filter((v) => v !== null).at(-1))}`)
    .join(", ");
const phaseAt = (run, epoch) =>
  phaseName(run.curves.phases.find(({ first, last }) => epoch >= first && epoch <= last)?.name ?? "");

function phaseBands(run, x, frame) {
  return run.curves.phases.map(({ name, first, last }, i) => {
    const start = i ? x.scale(first - 0.5) : frame.left,
      end = i < run.curves.phases.length - 1 ? x.scale(last + 0.5) : frame.right;
    const band =
      i % 2
        ? svg("rect", {
            class: "band",
            x: start,
            y: frame.top,
            width: Math.max(0, end - start),
            height: frame.bottom - frame.top,
          })
        : null;
    return [
      band,
      end - start > textWidth(phaseName(name))
        ? svg("text", { class: "phase", x: (start + end) / 2, y: 12, "text-anchor": "middle" }, phaseName(name))
        : null,
    ];
  });
}

// Broken where a value is missing.
function curve(row, epochs, x, y, i) {
  let path = "",
    drawing = false;
  row.forEach((value, n) => {
    if (value !== null) path += `${drawing ? "L" : "M"}${x.scale(epochs[n]).toFixed(1)},${y.scale(value).toFixed(1)}`;
    drawing = value !== null;
  });
  const dots =
    row.length < 60
      ? row.map((value, n) =>
          value === null
            ? null
            : svg("circle", { class: `dot s${i % 4}`, cx: x.scale(epochs[n]), cy: y.scale(value), r: 2 }),
        )
      : [];
  return [svg("path", { class: `curve s${i % 4}`, d: path }), dots];
}

function readOff(plot, cross, epochs, x, words) {
  let at = epochs.length - 1;
  const show = (i) => {
    at = Math.min(Math.max(i, 0), epochs.length - 1);
    cross.setAttribute("x1", x.scale(epochs[at]));
    cross.setAttribute("x2", x.scale(epochs[at]));
    cross.setAttribute("visibility", "visible");
    showTip(words(at), cross);
  };
  const hide = () => {
    cross.setAttribute("visibility", "hidden");
    hideTip();
  };
  const nearest = (event) => {
    const here = event.clientX - plot.getBoundingClientRect().left;
    return epochs.reduce(
      (best, epoch, i) => (Math.abs(x.scale(epoch) - here) < Math.abs(x.scale(epochs[best]) - here) ? i : best),
      0,
    );
  };
  fill(
    plot,
    {
      on: {
        pointermove: (event) => show(nearest(event)),
        pointerleave: hide,
        focus: () => show(at),
        blur: hide,
        keydown: (event) => {
          const step = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: epochs.length - 1 }[event.key];
          if (step === undefined) return;
          show(step);
          event.preventDefault();
        },
      },
    },
    [],
  );
}
