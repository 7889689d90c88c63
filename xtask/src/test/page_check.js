// Runs inside a copy of report.html, after the page's own script; leaves its verdict in the title.
addEventListener("load", () => {
  const problems = window.pageProblems;

  const fetched = performance.getEntriesByType("resource").map((entry) => entry.name);
  if (fetched.length > 0) problems.push("the page fetches " + fetched.join(", "));

  const charts = [...document.querySelectorAll("svg")];
  if (charts.length === 0) problems.push("there is no chart");
  for (const chart of charts) {
    const box = chart.getBoundingClientRect();
    const marks = chart.querySelectorAll("path, circle, rect, line, polyline, polygon, use").length;
    if (box.width === 0 || box.height === 0 || marks === 0) problems.push("an empty chart");
  }

  // Every table of figures sorts, and there is one per task and one of the kernels.
  const sections = [...document.querySelectorAll("section")].filter((s) => /^(t\d+|kernels)$/.test(s.id));
  if (sections.length < 2) problems.push("there is no task, or no kernels");
  for (const section of sections) {
    if (!section.querySelector("table.sortable")) problems.push("section " + section.id + " has no table that sorts");
  }
  const tables = [...document.querySelectorAll("table")];

  // A table sorts if clicking one of its headers twice leaves the same rows in two different orders.
  const rows = (table) => [...table.tBodies[0].rows].map((row) => row.textContent);
  const same = (a, b) => a.length === b.length && a.every((text, i) => text === b[i]);
  const sorts = (table, header) => {
    const click = () => ((header.querySelector("button") ?? header).click(), rows(table));
    const before = rows(table), first = click(), second = click();
    return !same(first, second) && same([...first].sort(), [...before].sort());
  };
  tables.forEach((table, i) => {
    const distinct = new Set(rows(table)).size > 1;
    if (!table.matches(".sortable") || (distinct && ![...table.tHead.rows[0].cells].some((header) => sorts(table, header)))) {
      problems.push("table " + (i + 1) + " does not sort");
    }
  });

  document.title = "page check: " + (problems.join("; ") || "ok");
});
