// Every exported point in a row: the front as a table, and a second way to select.

function budgetsSection() {
  const points = POINTS.map((point, index) => [point, index]).filter(([point]) => point.exported);
  if (!points.length) return document.getElementById("budgets").replaceChildren();
  points.sort(
    ([a], [b]) =>
      rivalOf(RUNS[a.run]) - rivalOf(RUNS[b.run]) ||
      JSON.stringify(a.budgets).localeCompare(JSON.stringify(b.budgets), "en", { numeric: true }) ||
      a.seed - b.seed,
  );
  const costs = Object.keys(UNITS);
  const heads = ["Network", "test", "validation", ...costs.map(costName)];
  section(
    "budgets",
    "All networks and their budgets",
    table(
      "rows",
      `${capital(METRIC.name)} is that of the integers. After the slash stands the budget.`,
      heads,
      points.map(([point, index]) => budgetRow(point, index, costs)),
    ),
  );
}

function budgetRow(point, index, costs) {
  const run = RUNS[point.run];
  const button = html(
    "button",
    {
      type: "button",
      "aria-pressed": "false",
      on: {
        click: () => {
          select(index);
          document.getElementById("network").scrollIntoView();
        },
      },
    },
    swatch(rivalOf(run)),
    `${run.rival}, seed ${point.seed}${point.name ? `, ${point.name}` : ""}${point.knee ? ", knee" : ""}`,
  );
  const warnings = warningsOf(index);
  const mark = warnings ? html("a", { class: "bad", href: "#warnings" }, ` ${counted(warnings, "warning")}`) : null;
  const cells = costs.map((name) => html("td", { "data-head": costName(name) }, ...against(point, name)));
  return html(
    "tr",
    { "data-index": index },
    html("th", { scope: "row" }, button, mark),
    html("td", { "data-head": "test" }, scored(integers(point, "test"))),
    html("td", { "data-head": "validation" }, scored(integers(point, "val"))),
    cells,
  );
}

function against(point, name) {
  const value = point.costs[name],
    limit = point.budgets[name];
  if (!value) return ["–"];
  if (limit === undefined) return [quantity(value.found, value.unit)];
  const over = value.found > limit;
  return [
    `${quantity(value.found, value.unit)} / ${quantity(limit, value.unit)} `,
    html("span", { class: over ? "bad" : "good" }, over ? "OVER" : "met"),
  ];
}

function markBudgetRow() {
  for (const row of document.querySelectorAll("#budgets tbody tr")) {
    const chosen = Number(row.dataset.index) === selected;
    row.classList.toggle("chosen", chosen);
    row.querySelector("button").setAttribute("aria-pressed", String(chosen));
  }
}
