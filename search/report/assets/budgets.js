// Every exported network in a row: the front as a table that sorts, and a second way to select.

function budgetsSection() {
  const points = POINTS.map((point, index) => [point, index]).filter(([point]) => point.exported);
  if (points.length < 2) return document.getElementById("budgets").replaceChildren();
  points.sort(
    ([a], [b]) =>
      rivalOf(RUNS[a.run]) - rivalOf(RUNS[b.run]) ||
      JSON.stringify(a.budgets).localeCompare(JSON.stringify(b.budgets), "en", { numeric: true }) ||
      a.seed - b.seed,
  );
  const columns = Object.keys(UNITS).map((name) => [name, points.some(([point]) => point.promises[name])]);
  const heads = columns.flatMap(([name, promised]) => [capital(costName(name)), ...(promised ? [leftHead(name)] : [])]);
  section(
    "budgets",
    "All networks and their budgets",
    table(
      "rows",
      `${capital(METRIC.name)} is that of the integers. Press a column's name to sort by it.`,
      ["Network", "Test", "Validation", ...heads],
      points.map(([point, index]) => budgetRow(point, index, columns)),
      true,
    ),
  );
}

const leftHead = (name) => `Left of ${costName(name)} budget`;

function budgetRow(point, index, columns) {
  const run = RUNS[point.run];
  const go = () => {
    select(index);
    document.getElementById("network-title").focus();
    document.getElementById("network").scrollIntoView();
  };
  const button = html(
    "button",
    { type: "button", "aria-pressed": "false", on: { click: go } },
    swatch(rivalOf(run)),
    pointName(point),
  );
  const warnings = warningsOf(index);
  const mark = warnings ? html("a", { class: "bad mark-of", href: "#warnings" }, counted(warnings, "warning")) : null;
  return html(
    "tr",
    { "data-index": index },
    html("th", { scope: "row" }, button, mark),
    cell("Test", integers(point, "test"), scored(integers(point, "test"))),
    cell("Validation", integers(point, "val"), scored(integers(point, "val"))),
    columns.flatMap(([name, promised]) => costCells(point, name, promised)),
  );
}

function costCells(point, name, promised) {
  const value = point.costs[name];
  const found = cell(capital(costName(name)), value?.found, value ? exact(value.found, value.unit) : "–");
  return promised ? [found, cell(leftHead(name), point.promises[name]?.left, left(point, name))] : [found];
}

// What is left of a budget: "480 B (2.0%)", or by how much the budget is broken.
function left(point, name) {
  const promise = point.promises[name];
  if (!promise) return html("span", { class: "quiet" }, "no budget");
  const { unit } = point.costs[name];
  const share = promise.limit ? ` (${percent(Math.abs(promise.left) / promise.limit, 1)})` : "";
  return promise.met
    ? `${exact(promise.left, unit)}${share}`
    : html("span", { class: "bad" }, `OVER by ${exact(-promise.left, unit)}${share}`);
}

function markBudgetRow() {
  for (const row of document.querySelectorAll("#budgets tbody tr")) {
    const chosen = Number(row.dataset.index) === selected;
    row.classList.toggle("chosen", chosen);
    row.querySelector("button").setAttribute("aria-pressed", String(chosen));
  }
}
