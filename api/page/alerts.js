// Open alerts of a region and of the machine: one line each, the severest first, as the API orders them.

const MOST_SHOWN = 8;

export function drawAlerts(list, alerts, region) {
  const shown = alerts.filter((a) => a.region === region || !a.region);
  list.replaceChildren(...shown.slice(0, MOST_SHOWN).map((a) => {
    const line = document.createElement("li"), pill = document.createElement("span"), text = document.createElement("span"), when = document.createElement("small");
    pill.className = `pill ${a.severity === "critical" ? "bad" : a.severity === "warning" ? "warn" : "blue"}`;
    pill.textContent = a.severity;
    text.textContent = a.message;
    const link = document.createElement("a");
    link.href = `/v1/alerts/${encodeURIComponent(a.alert)}`;
    link.textContent = a.kind;
    when.textContent = `since ${a.first_seen.slice(0, 16).replace("T", " ")} UTC${a.state === "open" ? "" : `, ${a.state}`}`;
    line.append(pill, " ", link, " ", text, " ", when);
    return line;
  }));
  return shown.length;
}
