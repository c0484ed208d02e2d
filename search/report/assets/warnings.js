// What went wrong on the way to a network: what was seen, the likely cause, what to set. It stands above all figures.

function warningsNotice() {
  if (!DATA.warnings.length) return null;
  return html(
    "aside",
    { class: "notice alarm", id: "warnings", "aria-labelledby": "warnings-title" },
    html("h2", { id: "warnings-title" }, counted(DATA.warnings.length, "warning")),
    html("p", {}, "In the order of the run, so that the first one of a network is likely the cause of those after it."),
    DATA.warnings.map(warningItem),
  );
}

const MOST_OPEN = 3; // where there are more, each is closed, or what the page is for would stand far below

function warningItem(warning) {
  const facts = [
    ["Seen", warning.seen],
    ["Likely cause", warning.cause],
    ["Set", warning.advice],
  ];
  if (exported.length > 1) facts.unshift(["Network", warning.of.map((i) => pointName(POINTS[i])).join("; ")]);
  const networks = exported.length > 1 ? `, ${counted(warning.of.length, "network")}` : "";
  return html(
    "details",
    { class: "warning", open: DATA.warnings.length > MOST_OPEN ? null : "" },
    html("summary", {}, html("h3", {}, capital(warning.name.replaceAll("_", " "))), networks),
    html("dl", { class: "facts" }, factItems(facts)),
  );
}

const warningsOf = (index) => DATA.warnings.filter((warning) => warning.of.includes(index)).length;
