// Rivals at fixed budgets: a row each, mean and interval over seeds; and hypervolumes.

const ROW = 30,
  HEAD = 30;

// One strategy with one seed has nothing to be compared with: its networks stand in the table above already.
function rivalsSection() {
  const compared = DATA.budgets.some(({ rivals }) => rivals.length > 1 || rivals[0].values.length > 1);
  if (POINTS.filter((point) => point.exported).length < 2) return document.getElementById("rivals").replaceChildren();
  if (!compared) return hypervolumeSection();
  section(
    "rivals",
    "Rivals at fixed budgets",
    html(
      "p",
      {},
      `${capital(METRIC.name)} of the integers, on test data where there is some; of each seed the network that is best on validation data. Markers are means over seeds, small strokes the seeds, lines the 95% intervals of the means (Student's t, wide where seeds are few; none for one seed); a line that ends at the edge goes on beyond it. A strategy without budgets stands where its network keeps them.`,
    ),
    figure(`Mean ${METRIC.name} and interval of every rival at every budget`, drawRivals),
    rivalTable(),
    Object.keys(DATA.hypervolumes).length ? html("h3", {}, "Hypervolume") : null,
    hypervolumes(),
  );
}

function hypervolumeSection() {
  const found = hypervolumes();
  if (found.length) section("rivals", "Hypervolume of the front", found);
  else document.getElementById("rivals").replaceChildren();
}

function drawRivals(width, label) {
  const groups = DATA.budgets,
    wide = width > 620;
  const gutter = wide ? 190 : 0,
    row = wide ? ROW : ROW + 14;
  const height = groups.reduce((sum, group) => sum + HEAD + group.rivals.length * row, 0) + 46;
  const frame = { left: gutter + 8, right: width - 16, top: 8, bottom: height - 40 };
  const values = groups.flatMap((group) => group.rivals.flatMap((each) => each.values));
  const domain = within(values, ...extent(values, 0.3, 0.01));
  const x = {
    scale: linear(domain, [frame.left, frame.right]),
    ticks: ticks(...domain, (frame.right - frame.left) / 80),
    text: scoredTick,
    title: metricTitle(" of the integers"),
  };
  const plot = svg("svg", {
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    "aria-label": `${label}; the table below has its numbers`,
  });
  fill(plot, {}, [axes(frame, x, { scale: (v) => v, ticks: [], text: String })]);
  fill(
    plot,
    {},
    x.ticks.map((tick) =>
      svg("line", { class: "grid", x1: x.scale(tick), x2: x.scale(tick), y1: frame.top, y2: frame.bottom }),
    ),
  );
  let top = frame.top;
  for (const group of groups) {
    plot.append(svg("text", { class: "group", x: 0, y: top + 18 }, budgetText(group.budgets)));
    top += HEAD;
    for (const each of group.rivals) {
      plot.append(rivalRow(each, x, domain, top + row - ROW / 2, wide));
      top += row;
    }
  }
  return plot;
}

function rivalRow(each, x, domain, middle, wide) {
  const rival = RIVALS.indexOf(each.rival),
    inside = (v) => x.scale(Math.min(Math.max(v, domain[0]), domain[1]));
  const interval =
    each.half === null
      ? null
      : svg("line", {
          class: "interval",
          x1: inside(each.mean - each.half),
          x2: inside(each.mean + each.half),
          y1: middle,
          y2: middle,
        });
  const seeds = each.values.map((v) =>
    svg("line", { class: "seed", x1: x.scale(v), x2: x.scale(v), y1: middle - 7, y2: middle + 7 }),
  );
  const mean = svg("path", {
    class: "mark",
    d: shape(rival, 6),
    transform: `translate(${x.scale(each.mean)},${middle})`,
  });
  return svg(
    "g",
    { class: `r${rival % SHAPES.length}` },
    svg("text", { x: wide ? 8 : 0, y: wide ? middle + 4 : middle - 14 }, shortened(each.rival, wide ? 28 : 60)),
    interval,
    seeds,
    mean,
  );
}

const shortened = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

const meanText = (each, write) =>
  each.half === null
    ? `${write(each.mean)} (1 seed)`
    : `${write(each.mean)} ± ${write(each.half).replace(METRIC.unit, "")} (${each.values.length} seeds)`;

function rivalTable() {
  const heads = ["Budget", ...RIVALS];
  const rows = DATA.budgets.map((group) =>
    html(
      "tr",
      {},
      html("th", { scope: "row" }, budgetText(group.budgets)),
      RIVALS.map((name) => {
        const found = group.rivals.find((each) => each.rival === name);
        return cell(name, found?.mean, found ? meanText(found, scored) : "–");
      }),
    ),
  );
  return table("rows", "Mean ± half of the 95% interval over seeds", heads, rows, true);
}

function hypervolumes() {
  const costs = Object.keys(DATA.hypervolumes);
  if (!costs.length) return [];
  const heads = ["Strategy", ...costs.map((each) => capital(costName(each)))];
  const rows = RIVALS.map((name, i) =>
    html(
      "tr",
      {},
      html("th", { scope: "row" }, swatch(i), name),
      costs.map((each) => {
        const found = DATA.hypervolumes[each].rivals.find((volume) => volume.rival === name);
        return cell(capital(costName(each)), found?.mean, found ? meanText(found, (value) => value.toFixed(3)) : "–");
      }),
    ),
  );
  const corners = costs.map((each) => `${exact(DATA.hypervolumes[each].seedCost, UNITS[each])} of ${costName(each)}`);
  return [
    html(
      "p",
      {},
      `The best ${METRIC.name} that a limit on the cost allows, summed over octaves (factors of 2) of that limit, up to the seed network's cost (${corners.join(", ")}): the corner is fixed, at that cost and where ${METRIC.name} is 0. More is better. Compare only strategies with as many budgets a seed.`,
    ),
    table("rows", "Mean ± half of the 95% interval over seeds", heads, rows, true),
  ];
}
