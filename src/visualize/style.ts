/** The looks of the page: two themes, from a phone's width up. */
export const pageStyle = `
:root {
  --page: #f6f7f9; --card: #ffffff; --text: #16181d; --muted: #667085; --line: #e2e5ea; --grid: #eceef2; --accent: #2563eb;
  --run-0: #2563eb; --run-1: #d9480f; --run-2: #0d8a5f; --run-3: #b4239a; --run-4: #7048e8; --run-5: #0b7285; --run-6: #a07900;
  --run-7: #c92a2a;
  color-scheme: light;
}
:root[data-theme='dark'] {
  --page: #0e1116; --card: #161a21; --text: #e7eaf0; --muted: #97a1b1; --line: #29303b; --grid: #222934; --accent: #6ea8fe;
  --run-0: #6ea8fe; --run-1: #ff9f5a; --run-2: #4fd1a1; --run-3: #f285dd; --run-4: #b197fc; --run-5: #58c9dc; --run-6: #e5c04a;
  --run-7: #ff8787;
  color-scheme: dark;
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body {
  margin: 0 auto; padding: 20px; max-width: 1320px; background: var(--page); color: var(--text);
  font: 14px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif; -webkit-text-size-adjust: 100%;
}
h1 { margin: 0; font-size: 20px; font-weight: 650; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { margin: 0; font-size: 14px; font-weight: 600; }
.top { display: flex; flex-wrap: wrap; align-items: center; gap: 10px 20px; margin-bottom: 16px; }
.top h1 { margin-right: auto; }
.controls { display: flex; flex-wrap: wrap; align-items: center; gap: 8px 14px; color: var(--muted); }
.controls label { display: flex; align-items: center; gap: 8px; }
.controls output { min-width: 3.2em; color: var(--text); font-variant-numeric: tabular-nums; }
input[type='range'] { width: 120px; accent-color: var(--accent); }
select, button {
  padding: 4px 10px; border: 1px solid var(--line); border-radius: 7px; background: var(--card); color: var(--text); font: inherit;
  cursor: pointer;
}
button:hover, select:hover { border-color: var(--muted); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
#status { display: flex; align-items: center; gap: 7px; color: var(--muted); }
#status:not(:empty)::before { content: ''; width: 8px; height: 8px; border-radius: 50%; background: var(--muted); }
#status.live::before { background: var(--run-2); animation: pulse 2s infinite; }
#status.lost::before { background: var(--run-1); }
@keyframes pulse { 50% { opacity: 0.35; } }
@media (prefers-reduced-motion: reduce) { #status.live::before { animation: none; } }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 14px 16px; min-width: 0; }
.runs { padding: 6px 16px; margin-bottom: 16px; overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: 7px 18px 7px 0; text-align: right; font-weight: 400; }
th:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 9em; }
thead { color: var(--muted); font-size: 12px; }
tbody tr { border-top: 1px solid var(--line); }
tbody th label { display: flex; align-items: center; gap: 8px; font-weight: 600; cursor: pointer; }
#charts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 16px; }
#charts .wide { grid-column: 1 / -1; }
.card > header { display: flex; justify-content: space-between; align-items: center; margin-bottom: 6px; }
.card > header span { flex: 1; padding-left: 14px; color: var(--muted); font-size: 12px; white-space: pre-wrap; }
.card > header button { padding: 1px 9px; font-size: 12px; color: var(--muted); border-radius: 6px; }
.card > header button[aria-pressed='true'] { background: var(--accent); border-color: var(--accent); color: var(--card); }
.plot { position: relative; touch-action: pan-y; }
.u-select { background: color-mix(in srgb, var(--accent) 18%, transparent); }
.u-hz .u-cursor-x { border-right: 1px solid var(--muted); }
.tooltip {
  position: absolute; top: 8px; z-index: 2; padding: 7px 10px; border: 1px solid var(--line); border-radius: 8px;
  background: var(--card); box-shadow: 0 4px 16px rgb(0 0 0 / 0.14); font-size: 12px; pointer-events: none; max-width: 75%;
}
.tooltip div { display: flex; align-items: center; gap: 7px; overflow-wrap: anywhere; }
.tooltip i { flex: none; width: 8px; height: 8px; border-radius: 2px; }
.tooltip span { margin-left: auto; padding-left: 12px; font-variant-numeric: tabular-nums; white-space: nowrap; }
#samples { margin-top: 16px; }
#samples header span { padding: 0; }
#samples header label { display: flex; white-space: nowrap; align-items: center; gap: 10px; color: var(--muted); }
#texts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); gap: 14px; }
figure { margin: 0; padding-left: 12px; border-left: 3px solid; min-width: 0; }
figcaption { color: var(--muted); font-size: 12px; overflow-wrap: anywhere; }
pre {
  margin: 4px 0 0; font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace; white-space: pre-wrap;
  overflow-wrap: anywhere;
}
footer { margin-top: 18px; color: var(--muted); font-size: 12px; }
@media (max-width: 760px) {
  body { padding: 12px; }
  #charts { grid-template-columns: minmax(0, 1fr); gap: 12px; }
  .card { padding: 12px; }
  .top { margin-bottom: 12px; }
  thead { display: none; }
  tbody tr { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 6px 16px; padding: 10px 0; }
  tbody tr:first-child { border-top: 0; }
  tbody th { grid-column: 1 / -1; }
  td { padding: 0; text-align: left; }
  th:first-child { padding: 2px 0; }
  td::before { content: attr(data-heading); display: block; color: var(--muted); font-size: 12px; line-height: 1.3; }
}
`;
