// Why the mean of a forecast is what it is: a base, terms in rides to the left or right of a line, and their sum.

const SMALLEST = 0.005, NAMED = 3;

/** Draw an explanation of the API into `box`; terms that nobody would see are one row. */
export function drawReasons(box, explanation) {
  const large = explanation.terms.filter((term) => Math.abs(term.rides) >= SMALLEST);
  const rest = explanation.terms.filter((term) => Math.abs(term.rides) < SMALLEST).reduce((sum, term) => sum + term.rides, 0);
  const shown = Math.abs(rest) >= SMALLEST / 10 ? [...large, { reason: "all others", rides: rest, features: [] }] : large;
  const most = Math.max(...shown.map((term) => Math.abs(term.rides)), 1e-9);
  box.replaceChildren(
    row("sum", explanation.base.meaning, explanation.base.rides.toFixed(2)),
    ...shown.map((term) => {
      const bar = cell("i", term.rides >= 0 ? "more" : "less");
      bar.style.width = `${50 * Math.abs(term.rides) / most}%`;
      const made = row("", term.reason, `${term.rides >= 0 ? "+" : "−"}${Math.abs(term.rides).toFixed(2)}`, bar);
      made.title = term.features.slice(0, NAMED).map((f) => `${f.meaning}: ${f.value === null ? "not known" : +f.value.toFixed(2)}`).join("\n");
      return made;
    }),
    row("sum", "mean of the forecast", explanation.served.toFixed(2)),
  );
}

function row(kind, words, amount, ...bar) {
  const made = cell("li", kind);
  made.append(cell("span", "", words), cell("span", "scale", ...bar), cell("span", "amount", amount));
  return made;
}

function cell(name, className, ...content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...content);
  return made;
}
