"""The style sheet of a report: light, dark, on a phone and on paper."""

STYLE = """
:root{color-scheme:light dark;--ink:#16181d;--soft:#5b626e;--line:#d6dae1;--paper:#fff;
--panel:#f5f6f8;--mark:#b3203a;--warn:#fff1d6}
@media (prefers-color-scheme:dark){:root{--ink:#e6e8ec;--soft:#a2a9b5;--line:#3a404b;
--paper:#14161a;--panel:#1d2026;--mark:#ff8095;--warn:#3d2f10}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0 auto;max-width:72rem;padding:1rem;color:var(--ink);background:var(--paper);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.7rem;line-height:1.2;margin:.5rem 0}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem;border-bottom:1px solid var(--line)}
header p,figcaption,footer,.note,caption{color:var(--soft);margin:.3rem 0}
header p.state{background:var(--warn);color:var(--ink);padding:.5rem .75rem;border-radius:.4rem}
ul{padding-left:1.2rem}
.wide{overflow-x:auto;max-width:100%}
.charts{display:grid;gap:1.5rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr))}
.charts>*{min-width:0}
figure{margin:0}
figure.broad{grid-column:1/-1}
.chart svg{display:block;width:100%;height:auto}
table{border-collapse:separate;border-spacing:0;font-size:.87rem;
font-variant-numeric:tabular-nums;margin:.6rem 0}
caption{text-align:left;font-weight:600}
th,td{padding:.3rem .6rem;text-align:right;vertical-align:top;white-space:nowrap;
border-bottom:1px solid var(--line);overflow-wrap:normal}
th:first-child,td:first-child{text-align:left}
.wide th:first-child{position:sticky;left:0;z-index:1;background:var(--paper)}
.wide tr.found th:first-child{background:var(--panel)}
tbody th{font-weight:400;white-space:normal;min-width:8rem}
thead th{color:var(--soft);font-weight:600;vertical-align:bottom;white-space:normal}
tr.found{background:var(--panel)}tr.found th,tr.found td{font-weight:600}
.bounds{white-space:nowrap}td small{display:block;color:var(--soft);font-size:.78rem}
details{margin:.4rem 0}summary{cursor:pointer;color:var(--soft)}
pre{background:var(--panel);padding:.75rem;border-radius:.4rem;overflow-x:auto;font-size:.87rem}
footer{margin-top:3rem;border-top:1px solid var(--line);font-size:.87rem}
:focus-visible{outline:2px solid var(--mark);outline-offset:2px}
@media (max-width:40rem){body{padding:.75rem}th,td{padding:.3rem .4rem}
pre{white-space:pre-wrap}tbody th{min-width:6.5rem;max-width:8rem}
.bounds{display:block;font-size:.78rem}
small .bounds{font-size:inherit}.wide th:first-child{box-shadow:1px 0 var(--line)}}
@media print{:root{color-scheme:light}
:root{--ink:#000;--soft:#444;--line:#bbb;--paper:#fff;--panel:#f2f2f2;--warn:#eee}
body{max-width:none;padding:0;font-size:10pt}figure,table,tr,pre,li{break-inside:avoid}
h2{break-after:avoid}.wide,pre{overflow:visible}
.charts{grid-template-columns:repeat(auto-fit,minmax(18rem,1fr));gap:.8rem}
.chart{min-width:0!important}figcaption{font-size:8.5pt}figure details:not([open]){display:none}
details::details-content{content-visibility:visible;height:auto}
table{font-size:7.5pt}
.wide th:first-child{position:static}th,td{white-space:normal;padding:.15rem .3rem}
td small{font-size:6.5pt}
pre{white-space:pre-wrap}}
"""
