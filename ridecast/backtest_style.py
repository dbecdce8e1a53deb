"""The style sheet of the report of a backtest: light and dark as the reader's screen asks, and narrow enough for a phone."""

STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#1d2330;--quiet:#596275;--rule:#e2e5ea;--panel:#f5f6f8;--good:#1b7837;--bad:#b2182b;
--bar:#7aa6c2;--floor:#1d2330;--served:#d1495b;--last:#b9bec7;--hour:#d99a2b;--week:#5fa88f;--usual:#3b6ea5}
@media(prefers-color-scheme:dark){:root{--page:#14171d;--ink:#e6e9ef;--quiet:#9aa4b5;--rule:#2c323d;--panel:#1c2029;--good:#5bbf7a;
--bad:#ff7b7b;
--bar:#5b8fb0;--floor:#e6e9ef;--served:#ff6b7d;--last:#666e7c;--hour:#e0a94a;--week:#6cc0a4;--usual:#6fa3dc}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:var(--ink);background:var(--page)}
h1{font-size:1.7em;line-height:1.2;margin-bottom:.2em}h2{margin-top:2.2em;border-bottom:1px solid var(--rule);padding-bottom:.2em}
.lead{font-size:1.2em;max-width:46em}p,li{max-width:60em}.note{color:var(--quiet);font-size:.9em}.good{color:var(--good)}
.bad{color:var(--bad)}
.figures{display:flex;flex-wrap:wrap;gap:10px;margin:1.2em 0}
.figure{background:var(--panel);border-radius:10px;padding:.7em 1em;flex:1 1 150px}
.figure b{display:block;font-size:1.7em;line-height:1.25}.figure span{color:var(--quiet);font-size:.85em}
nav a{margin-right:1.2em;white-space:nowrap}a{color:var(--usual)}
.scroll{overflow-x:auto}table{border-collapse:collapse;margin:1em 0;font-variant-numeric:tabular-nums}
td,th{padding:.25em .7em;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}
thead th{color:var(--quiet);font-weight:500}
td:first-child,th:first-child{text-align:left}tr.first td{border-top:2px solid var(--rule)}tr.aside{color:var(--quiet)}
tr.us{font-weight:600}
details{margin:1em 0}summary{cursor:pointer;color:var(--usual)}
.charts{display:flex;flex-wrap:wrap;gap:12px;margin:.6em 0}.chart{width:340px;max-width:100%}
.map{width:100%;background:var(--panel);border-radius:10px}
svg text{fill:var(--ink)}.grid{stroke:var(--rule)}.title{font:600 11px sans-serif}svg text.tick{font:9px sans-serif;fill:var(--quiet)}
.end{text-anchor:end}.middle{text-anchor:middle}
.line{fill:none;stroke-width:1.4}.bar{fill:var(--bar)}.mark{stroke:var(--ink);stroke-dasharray:4 3}.allowed{fill:var(--good);opacity:.15}
.served{stroke:var(--served);stroke-width:2.6}.noise_floor{stroke:var(--floor);stroke-dasharray:4 3}.last_value{stroke:var(--last)}
.mean_last_hour{stroke:var(--hour)}.same_slot_last_week{stroke:var(--week)}.weekday_slot_mean{stroke:var(--usual)}
.event line{stroke:var(--ink);stroke-dasharray:2 3;opacity:.7}svg text.eventname{font:700 9px sans-serif;text-anchor:middle}
.timeline{margin:.6em 0 1.2em}.model p{margin:.5em 0 .1em}
.track{position:relative;height:30px;background:var(--panel);border-radius:4px}
.span{position:absolute;min-width:2px;border-radius:2px;top:3px;height:11px;background:var(--served)}
.span.probation{background:repeating-linear-gradient(135deg,var(--served) 0 5px,transparent 5px 8px);border:1.5px solid var(--served)}
.span.trial{top:9px;height:5px;border:1.5px dashed var(--usual);background:none}.span.guard{top:9px;height:5px;background:var(--usual)}
.at{position:absolute;top:15px;transform:translateX(-50%);font-size:.72em;line-height:14px;padding:0 2px;background:var(--panel)}
.track.spot{display:inline-block;width:30px;height:17px;margin-right:.4em;vertical-align:-.2em}.spot .span{left:2px;right:2px}
.axis .track{background:none;height:1.4em}.day{position:absolute;font-size:.75em;color:var(--quiet);white-space:nowrap}
.day::before{content:"";position:absolute;left:0;top:-4px;height:5px;border-left:1px solid var(--quiet)}
.decisions time{font-weight:600;white-space:nowrap}.decisions li{margin:.35em 0;overflow-wrap:anywhere}
.rides{stroke:var(--ink);stroke-width:1.8}.unknown{fill:var(--rule)}
.place{fill:#fff;stroke:#111;stroke-width:1.5}svg text.placename{font:700 11px sans-serif;fill:#111;text-anchor:middle}
.key,.legend{display:flex;flex-wrap:wrap;gap:.2em 1.4em}
.key i{display:inline-block;width:1.2em;height:.9em;margin-right:.4em;vertical-align:-.1em}
.legend svg{width:26px;height:8px;vertical-align:middle;margin-right:.4em}
.story{display:flex;flex-wrap:wrap;gap:0 20px;align-items:center;border-bottom:1px solid var(--rule);padding:.4em 0}
.story p{flex:1 1 320px;margin:.4em 0}
code{font-size:.95em;overflow-wrap:anywhere}
@media print{details{display:block}}
"""
