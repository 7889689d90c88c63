"use strict";
// Sort a table by tapping a column head: numbers by value, text by alphabet, unmeasured cells last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.firstElementChild.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      const sign = descending ? -1 : 1;
      const body = table.tBodies[0];
      const compare = (a, b) => {
        const [x, y] = [a, b].map((row) => row.cells[column].dataset);
        if (x.number !== undefined && y.number !== undefined) return sign * (x.number - y.number);
        if (x.text !== undefined && y.text !== undefined) return sign * x.text.localeCompare(y.text);
        const [noX, noY] = [x, y].map((cell) => cell.number === undefined && cell.text === undefined);
        return noX - noY;
      };
      body.append(...[...body.rows].sort(compare));
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    });
  });
}
