// What the page says first: the verdict on its networks, and what was searched for, on which data and when.

function headSection() {
  const verdict = exported.length > 1 ? DATA.verdict : POINTS[exported[0]]?.verdict;
  fill(document.getElementById("head"), {}, [
    html("p", { class: "kicker" }, "picojoule report"),
    html("h1", {}, DATA.title),
    verdict ? html("p", { class: "verdict" }, ...verdictWords(verdict)) : null,
    html("dl", { class: "facts about" }, factItems(Object.entries(DATA.facts))),
    warningsNotice(),
    faultsNotice(),
  ]);
}

// "87.40% accuracy on test data; 24,330 of 24,576 B of flash, met".
const verdictWords = ({ value, of, costs, met }) => [
  html("strong", {}, value),
  ` ${of}; `,
  html("span", { class: met === null ? "" : met ? "good" : "bad" }, costs.join("; ")),
];

const factItems = (facts) => facts.map(([name, said]) => html("div", {}, html("dt", {}, name), html("dd", {}, said)));

function faultsNotice() {
  if (!DATA.faults.length) return null;
  return html(
    "details",
    { class: "notice", open: "" },
    html("summary", {}, `${counted(DATA.faults.length, "thing")} to know about these files`),
    html(
      "ul",
      {},
      DATA.faults.map((fault) => html("li", {}, fault)),
    ),
  );
}

// Under the front: which network is chosen, what it reaches, and the way to its layers.
function chosenLine() {
  const line = document.getElementById("chosen");
  if (!line) return;
  const point = POINTS[selected];
  line.replaceChildren(
    swatch(rivalOf(RUNS[point.run])),
    html("strong", {}, pointName(point)),
    ": ",
    ...(point.verdict ? verdictWords(point.verdict) : ["not measured"]),
    ". ",
    html("a", { href: "#network" }, "Its layers"),
  );
}
