// What is selected, and the page from top to bottom.

const exported = POINTS.map((_, i) => i).filter((i) => POINTS[i].exported);
let selected = firstPoint();
let chosenRun = selected === null ? 0 : POINTS[selected].run;

// The most accurate on validation data of those that are exported.
function firstPoint() {
  const among = exported.length ? exported : POINTS.map((_, i) => i);
  return among.length
    ? among.reduce((best, i) => (integers(POINTS[i], "val") > integers(POINTS[best], "val") ? i : best))
    : null;
}

function select(index) {
  selected = index;
  networkSection();
  settleTabs(frontMarks());
  markBudgetRow();
  if (POINTS[index].run !== chosenRun) chooseRun(POINTS[index].run);
}

function chooseRun(index) {
  chosenRun = index;
  const run = RUNS[index];
  const held = document.activeElement?.id;
  runSection();
  for (const draw of [curvesSection, decisionsSection, sensitivitySection, leftOutSection, repeatSection]) draw(run);
  if (held === "which-run") document.getElementById(held).focus();
}

function headSection() {
  const unfinished = RUNS.filter((run) => !run.finished).length;
  const parts = [
    counted(RUNS.length, "run"),
    counted(exported.length, "network"),
    counted(RIVALS.length, "strategy", "strategies"),
    unfinished ? `${unfinished} unfinished` : null,
  ];
  const faults = DATA.faults.length
    ? html(
        "details",
        { class: "notice", open: "" },
        html("summary", {}, `${counted(DATA.faults.length, "thing")} to know about these files`),
        html(
          "ul",
          {},
          DATA.faults.map((fault) => html("li", {}, fault)),
        ),
      )
    : null;
  fill(document.getElementById("head"), {}, [
    html("p", { class: "kicker" }, "picojoule report"),
    html("h1", {}, DATA.title),
    html("p", { class: "lede" }, parts.filter(Boolean).join(" · ")),
    warningsNotice(),
    faults,
  ]);
}

headSection();
frontSection();
networkSection();
budgetsSection();
rivalsSection();
chooseRun(chosenRun);
markBudgetRow();
