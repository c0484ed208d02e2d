// The chosen run: time, epochs, what was left out, and how to repeat it.

function runSection() {
  const choice = html(
    "select",
    { id: "which-run", on: { change: (event) => chooseRun(Number(event.target.value)) } },
    RUNS.map((run, i) => html("option", { value: i, selected: i === chosenRun ? "" : null }, runName(run))),
  );
  const run = RUNS[chosenRun];
  section(
    "run",
    RUNS.length > 1 ? "One run in detail" : "The run",
    RUNS.length > 1 ? html("p", { class: "picker" }, html("label", { for: "which-run" }, "Run"), choice) : null,
    run.finished
      ? null
      : html(
          "p",
          { class: "notice" },
          `This run is unfinished: it has no summary. What follows is of the epochs it completed; resume it with `,
          html("code", {}, `picojoule resume=${run.folder}`),
          ".",
        ),
    spent(run),
  );
}

function spent(run) {
  const phases = [...new Set([...Object.keys(run.seconds), ...Object.keys(run.epochs)])];
  if (!phases.length) return null;
  const each = (head, values, phase, write) =>
    cell(head, values[phase], Number.isFinite(values[phase]) ? write(values[phase]) : "–");
  const hasEpochs = Object.keys(run.epochs).length > 0;
  const rows = phases.map((phase) =>
    html(
      "tr",
      { class: phase === "total" ? "strong" : "" },
      html("th", { scope: "row" }, phaseName(phase)),
      each("Time", run.seconds, phase, duration),
      hasEpochs ? each("Epochs", run.epochs, phase, (n) => Number(n.toFixed(2)).toLocaleString("en")) : null,
    ),
  );
  return table("plain narrow", "Time and epochs", ["Phase", "Time", ...(hasEpochs ? ["Epochs"] : [])], rows);
}

function leftOutSection(run) {
  section(
    "left-out",
    "What the search left out",
    run.leftOut.length
      ? html("dl", { class: "facts" }, factItems(run.leftOut.map(({ what, why }) => [what, why])))
      : html("p", {}, "Nothing that is known of: every layer and every kind of decision was open."),
  );
}

function repeatSection(run) {
  section(
    "repeat",
    "To repeat it",
    run.command
      ? html("pre", { tabindex: 0 }, html("code", {}, run.command))
      : html("p", {}, "The command is not known; all settings are in the run's config.yaml."),
    html(
      "dl",
      { class: "facts" },
      factItems([["folder", run.folder], ["seed", String(run.seed)], ...Object.entries(run.versions)]),
    ),
    run.settings
      ? html(
          "details",
          {},
          html("summary", {}, "All settings"),
          html("pre", { tabindex: 0 }, html("code", {}, run.settings)),
        )
      : null,
  );
}
