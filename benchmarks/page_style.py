"""How the report looks, by day, by night, on a phone and printed, and the few lines that make films play when seen."""

from __future__ import annotations

CSS = """
:root { color-scheme: light dark;
  --paper: #fbfaf7; --card: #fff; --ink: #1c1e21; --soft: #5b6068; --rule: #dedbd3; --shade: #0003; --grid: #ebe8e1;
  --good: #00755a; --bad: #b34700; --warn: #8a6100; --accent: #0072b2;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7; --c4: #e69f00; --c5: #56b4e9; --c6: #777; --c7: #111; }
@media screen and (prefers-color-scheme: dark) { :root {
  --paper: #131518; --card: #1b1e23; --ink: #e9e7e2; --soft: #a3a8b0; --rule: #343941; --shade: #fff4; --grid: #2a2e35;
  --good: #3ecfa4; --bad: #ff9552; --warn: #f0c040; --accent: #6cc0f0;
  --c0: #56b4e9; --c1: #e69f00; --c2: #1fb98d; --c3: #cc79a7; --c4: #d5672a; --c5: #3b8fd0; --c6: #999; --c7: #eee; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: break-word;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
header, main, footer { max-width: 62rem; margin: 0 auto; padding: 0 1.1rem; }
header { padding-top: 2.2rem; }
h1 { font-size: clamp(1.7rem, 5vw, 2.6rem); line-height: 1.15; letter-spacing: -.02em; margin: .2rem 0 .6rem; }
h2 { font-size: 1.35rem; letter-spacing: -.01em; margin: 3rem 0 .3rem; padding-top: .9rem;
  border-top: 2px solid var(--ink); }
h3 { font-size: 1.02rem; margin: 1.6rem 0 .3rem; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
a { color: var(--accent); }
.kicker, .lead, .note { color: var(--soft); }
.kicker { font-size: .85rem; letter-spacing: .06em; text-transform: uppercase; margin: 0; }
.note { font-size: .88rem; }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-size: .92rem; margin: .9rem 0 0; }
.grid { display: grid; gap: 1.1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
  align-items: start; margin: 1rem 0; }
.card, .chart { background: var(--card); border: 1px solid var(--rule); border-radius: .6rem; padding: 1rem 1.1rem;
  min-width: 0; margin: 0; }
.chart { padding: .9rem .9rem .6rem; max-width: 32rem; width: 100%; }
figcaption { font-weight: 600; line-height: 1.35; margin-bottom: .5rem; }
.card h2 { margin: 0; padding: 0; border: 0; font-size: 1.05rem; } .card em { color: var(--soft); font-style: normal; }
.tight { gap: .2rem 1.1rem; } h4 { margin: .6rem 0 0; font-size: .9rem; }
.big { font-size: 2.6rem; font-weight: 700; line-height: 1; letter-spacing: -.03em; }
.big small { font-size: 1rem; font-weight: 400; letter-spacing: 0; color: var(--soft); }
ul.findings { list-style: none; margin: .8rem 0 0; padding: 0; }
ul.findings li { padding: .45rem 0 .45rem 1.7rem; border-top: 1px solid var(--grid); position: relative; }
ul.findings li::before { content: attr(data-sign); position: absolute; left: .2rem; font-weight: 700; }
.good::before, .good > strong { color: var(--good); }
.bad::before, .bad > strong { color: var(--bad); } .warning::before, .warning > strong { color: var(--warn); }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font: 11.5px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; fill: var(--ink); }
svg .label, svg .second { fill: var(--soft); } svg .name { font-weight: 600; }
svg .grid { stroke: var(--grid); } svg .axis { stroke: var(--soft); stroke-width: .8; }
svg .level { stroke: var(--soft); stroke-width: 1.2; fill: none; }
svg .curve { fill: none; stroke-width: 2; stroke-linejoin: round; } svg .whisker { fill: none; stroke-width: 1.3; }
svg .interval { stroke-width: 5; stroke-opacity: .35; } svg .band { fill-opacity: .15; }
svg .mark { stroke: var(--card); stroke-width: 1.2; vector-effect: non-scaling-stroke; }
svg .stroke { fill: none; stroke-width: 2; vector-effect: non-scaling-stroke; } svg .bar { stroke-width: 1; }
svg g:hover > .mark, svg g:hover > .stroke { stroke: var(--ink); }
.wide { overflow-x: auto; max-width: 100%;  /* shadows at the ends where there is more to scroll to */
  background: linear-gradient(90deg, var(--paper) 1.2rem, transparent) left / 2.4rem 100% local,
    linear-gradient(270deg, var(--paper) 1.2rem, transparent) right / 2.4rem 100% local,
    linear-gradient(90deg, var(--shade), transparent) left / 1rem 100%,
    linear-gradient(270deg, var(--shade), transparent) right / 1rem 100%; background-repeat: no-repeat; }
.wide + .wide { margin-top: 1rem; } .card .wide, .chart .wide { --paper: var(--card); }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; width: 100%; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
th, td { text-align: left; vertical-align: top; padding: .32rem .9rem .32rem 0; border-bottom: 1px solid var(--grid); }
thead th { border-bottom: 1px solid var(--soft); }
tbody th { font-weight: 400; color: var(--soft); min-width: 7rem; }
td { min-width: 5.5rem; } td code { overflow-wrap: anywhere; } td[colspan] { color: var(--soft); }
details > summary { cursor: pointer; color: var(--soft); font-size: .88rem; padding: .35rem 0; }
details[open] > summary { color: var(--ink); }
code, pre { font: .84rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
pre { background: var(--card); border: 1px solid var(--rule); border-radius: .5rem; padding: .6rem .8rem;
  margin: .4rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.copy { float: right; font: inherit; font-size: .78rem; color: var(--accent); background: none; border: 0;
  cursor: pointer; }
.columns { columns: 22rem 2; column-gap: 1.1rem; margin: 1rem 0; }
.columns > * { break-inside: avoid; margin-bottom: 1.1rem; }
.films { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 25rem), 1fr)); }
.film { background: var(--card); border: 1px solid var(--rule); border-top: 4px solid var(--bad); border-radius: .6rem;
  padding: .8rem .9rem; min-width: 0; }
.film.reached { border-top-color: var(--good); }
.film h3 { margin: 0 0 .5rem; font-size: .95rem; }

.film p { font-size: .86rem; margin: .4rem 0 0; color: var(--soft); } .film .why { color: var(--ink); }
.pictures { display: flex; gap: .5rem; } .pictures figure { margin: 0; flex: 1 1 0; min-width: 0; }
.pictures .two { flex-grow: 2.05; }
.pictures figcaption { font-size: .78rem; font-weight: 400; color: var(--soft); margin: .2rem 0 0; display: flex; }
.pictures figcaption span { flex: 1; }
.pictures img, .pictures video { display: block; width: 100%; height: auto; border-radius: .25rem; }
.print { display: none !important; }
footer { color: var(--soft); font-size: .85rem; padding-top: 2rem; padding-bottom: 3rem; }
@page { margin: 13mm; }
@media print {
  :root { color-scheme: light; --paper: #fff; } body { font-size: 10.5pt; }
  header, main, footer { max-width: none; padding: 0; } nav, .copy, .screen { display: none !important; }
  .print { display: block !important; } h2, h3, figcaption { break-after: avoid; }
  .chart, .film, .card, tr, pre { break-inside: avoid; } .chart { max-width: 100%; }
  .grid { grid-template-columns: repeat(auto-fit, minmax(7.5cm, 1fr)); }
  .films { grid-template-columns: 1fr 1fr 1fr; gap: .5rem; }
  .wide { overflow: visible; background: none; } td, tbody th { min-width: 0; }
  table { table-layout: fixed; font-size: 7.5pt; } th, td { overflow-wrap: anywhere; }
}
"""

SCRIPT = """
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const seen = new IntersectionObserver(entries => entries.forEach(({ target, isIntersecting }) => {
  if (isIntersecting && !still) target.play().catch(() => {}); else target.pause();
}), { threshold: 0.4 });
document.querySelectorAll("video").forEach(film => {
  const show = on => () => { film.controls = on || still; };  // the controls hide small pictures
  film.tabIndex = 0;
  for (const event of ["pointerenter", "focus", "touchstart"]) film.addEventListener(event, show(true));
  for (const event of ["pointerleave", "blur"]) film.addEventListener(event, show(false));
  show(false)();
  seen.observe(film);
});
document.querySelectorAll("pre").forEach(block => {
  if (!navigator.clipboard) return;
  const button = document.createElement("button"), command = block.textContent;
  button.className = "copy"; button.type = "button"; button.textContent = "copy";
  button.onclick = () => navigator.clipboard.writeText(command).then(() => button.textContent = "copied");
  block.prepend(button);
});
"""
