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
  chosenLine();
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

// A single network is what its reader came for; of several the front is.
if (exported.length < 2) document.querySelector("main").prepend(document.getElementById("network"));
headSection();
frontSection();
budgetsSection();
rivalsSection();
networkSection();
chosenLine();
chooseRun(chosenRun);
markBudgetRow();
