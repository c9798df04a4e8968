"""The style sheet of a report. Blue and orange are distinct for colour-blind readers, on dark and light pages.

A table wider than the screen scrolls by itself, and a shadow at an edge shows that it continues there.
"""

STYLE_SHEET = """\
:root{--paper:#fff;--ink:#1f2328;--soft:#59636e;--line:#d9dee4;--panel:#f5f7f9;--blue:#1f5fa8;--orange:#b9520f;
--grey:#757d87;--grid:#e6e8eb;--tint:31,95,168;--warm:209,102,28}
@media(prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e4e7ea;--soft:#a0a8b1;--line:#343b43;--panel:#1d2227;
--blue:#6aa8ee;--orange:#f0924d;--grey:#8e97a1;--grid:#2b3138;--tint:90,155,230;--warm:230,140,70}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,
"Noto Sans","DejaVu Sans",sans-serif}
main{max-width:58rem;margin:0 auto;padding:1.5rem 1rem 5rem}
h1{font-size:1.75rem;line-height:1.2;margin:.5rem 0 .25rem;overflow-wrap:anywhere}
h2{font-size:1.25rem;margin:3rem 0 .75rem;padding-top:.75rem;border-top:1px solid var(--line)}
h3{font-size:.75rem;font-weight:600;color:var(--soft);margin:.75rem 0 .15rem;text-transform:uppercase;
letter-spacing:.04em}
header p{color:var(--soft);margin:0;overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin:1rem 0;font-size:.9rem}
a{color:var(--blue);text-underline-offset:.2em}
p{max-width:46rem;overflow-wrap:anywhere}
.headline{display:grid;grid-template-columns:auto 1fr;gap:0 .75rem;align-items:baseline;background:var(--panel);
border-radius:.6rem;padding:1.1rem 1.25rem;margin:.75rem 0}
.headline .name{grid-column:1/-1;color:var(--soft);overflow-wrap:anywhere}
.headline strong{font-size:2.6rem;line-height:1.15;font-variant-numeric:tabular-nums}
.headline .interval{color:var(--soft)}
.headline p{grid-column:1/-1;margin:.5rem 0 0}
.bar{grid-column:1/-1;position:relative;height:.7rem;border-radius:.35rem;background:var(--line);margin:.7rem 0 .3rem}
.bar i{position:absolute;top:0;bottom:0;left:0}
.bar .full{background:rgba(var(--tint),.55);border-radius:.35rem}
.bar .range{background:var(--blue);border-radius:.2rem;min-width:2px;top:25%;bottom:25%}
.bar .base{width:3px;margin-left:-1px;background:var(--orange);top:-.3rem;bottom:-.3rem}
.notes{padding-left:1.2rem;max-width:46rem;overflow-wrap:anywhere}
.wide{overflow-x:auto;margin:1rem 0;
background:linear-gradient(90deg,var(--paper) 40%,transparent) 0 0/2rem 100% no-repeat local,
linear-gradient(270deg,var(--paper) 40%,transparent) 100% 0/2rem 100% no-repeat local,
linear-gradient(90deg,rgba(128,128,128,.4),transparent) 0 0/.7rem 100% no-repeat scroll,
linear-gradient(270deg,rgba(128,128,128,.4),transparent) 100% 0/.7rem 100% no-repeat scroll}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
.caption{color:var(--soft);font-size:.92rem;margin:1.25rem 0 -.4rem}
th{font-weight:600;color:var(--soft);text-align:left;vertical-align:bottom}
th,td{padding:.35rem .7rem;border-bottom:1px solid var(--line)}
td{vertical-align:top;overflow-wrap:anywhere;min-width:min(16rem,65vw);background:rgba(var(--tint),calc(var(--shade,0)*.55))}
td.number,th.number{text-align:right}
td.number,td.short{white-space:nowrap;min-width:0}
.upright th.number span{writing-mode:vertical-rl;white-space:nowrap;transform:rotate(180deg);max-height:9rem;
overflow:hidden}
.upright th.number{text-align:center}
.upright td.number{text-align:center}
.upright th,.upright td{padding:.3rem .4rem}
figure{margin:1rem 0;max-width:38rem}
figure svg{width:100%;height:auto;display:block}
figcaption{color:var(--soft);font-size:.9rem}
details{margin:.4rem 0}
summary{cursor:pointer;color:var(--blue);font-size:.9rem}
pre{background:var(--panel);padding:.8rem 1rem;border-radius:.5rem;white-space:pre-wrap;overflow-wrap:anywhere;
font:.85rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
article{border:1px solid var(--line);border-radius:.6rem;padding:.8rem 1rem;margin:.8rem 0}
article header{display:flex;flex-wrap:wrap;gap:.1rem .9rem;color:var(--soft);font-size:.9rem;overflow-wrap:anywhere}
article header b{color:var(--ink)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem .8rem;margin:.5rem 0}
dt{font-size:.85rem;font-weight:600}
dd{margin:0;overflow-wrap:anywhere;white-space:pre-wrap;font-weight:600}
dt.expected{color:var(--blue)}
dt.given{color:var(--orange)}
dt.expected::before{content:"\\2713  "}
dt.given::before{content:"\\2717  "}
blockquote{margin:0;overflow-wrap:anywhere;white-space:pre-wrap;unicode-bidi:isolate}
mark{color:inherit;background:none;padding:0 .05em}
mark.expected{background:rgba(var(--tint),.22);border-bottom:2px solid var(--blue)}
mark.given{background:rgba(var(--warm),.22);border-bottom:2px dashed var(--orange)}
mark.expected.given{border-bottom-style:double;background:rgba(var(--tint),.22)}
@media(max-width:30rem){h1{font-size:1.4rem}.headline strong{font-size:2.1rem}
table{font-size:.85rem}th,td{padding:.3rem}
dl{grid-template-columns:1fr}dd{margin-bottom:.3rem}}
@media print{nav{display:none}article,figure,.headline{break-inside:avoid}}
"""
