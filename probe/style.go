package probe

// style is the look of the picture. Classes of frames are k0, k1... by kind.
const style = `<style>
svg{font:12px system-ui,"Segoe UI","Helvetica Neue","DejaVu Sans",Arial,sans-serif;fill:#22303c}
.paper{fill:#fbfaf6}.panel{fill:#fff;stroke:#dcd8ce}.grid{stroke:#ece9e2;fill:none}.base{stroke:#a9a497;fill:none}
.t1{font-size:24px;font-weight:650}.t2{font-size:14px;fill:#53616d}.fact{font-size:12.5px;fill:#3a4751}.b{font-weight:650}
.h{font-size:13px;font-weight:650}.s{font-size:11px;fill:#6d7781}.e{font-size:11px;fill:#6d7781;text-anchor:end}
.m{font-size:11px;fill:#6d7781;text-anchor:middle}.l{font-size:11.5px;fill:#3a4751}
.in{font-size:10.5px;fill:#fff;text-anchor:middle}.on{font-size:10.5px;fill:#5a3a05;text-anchor:middle;paint-order:stroke;stroke:#fdf3df;stroke-width:3px}
.k0{fill:#d3cfc5}.k1{fill:#c9423d}.k2{fill:#e9a39b}.k3{fill:#3f78b0}.k4{fill:#55a276}.k5{fill:#b3d8ae}.k6{fill:#aab2b9}.k7{fill:#8468ab}.k8{fill:#d9b872}
.a0,.a1,.a2,.a3,.a4,.a5,.a6,.a7{fill-opacity:.88}
.c1{stroke:#c9423d}.c2{stroke:#e9a39b}.c3{stroke:#3f78b0}.c4{stroke:#55a276}.c5{stroke:#93c48d}.c6{stroke:#aab2b9}.c7{stroke:#8468ab}
.link{fill:none;stroke-width:1.6px;stroke-opacity:.75}.peak{fill:none;stroke:#22303c;stroke-opacity:.4}
.lead{fill:#3f78b0;fill-opacity:.28}.leadl{fill:none;stroke:#3f78b0;stroke-width:1.5px}.all{fill:none;stroke:#b3822b;stroke-width:1.3px;stroke-dasharray:4 2}
.mean{stroke:#22303c;stroke-opacity:.55;stroke-dasharray:1 3;fill:none}
.g0{fill:#8fabc7}.g1{fill:#e3a63a}.g2{fill:#8468ab}.g0x{fill:#dbe4ee}.g1x{fill:#f7e4c0}.g2x{fill:#ddd3ea}
.i0{fill:#2b857a}.i1{fill:#58aa9f}.ix{fill:#cfe5e2}.d0,.d1{fill:url(#hatch)}.dx{fill:#f6e3c0}
.key{stroke:#c9423d;stroke-opacity:.55;fill:none}.mark{stroke:#7a3e9d;stroke-dasharray:5 3;fill:none}.markt{font-size:10.5px;fill:#7a3e9d}
.hit{fill:#000;fill-opacity:0}.hit:hover{fill-opacity:.07}rect.f:hover,rect.q:hover{stroke:#22303c;stroke-width:1px}
.cell{font-size:10.5px;font-weight:650;fill:#fff;text-anchor:middle}.cell5,.cell0,.cell2{font-size:10.5px;font-weight:650;fill:#22303c;text-anchor:middle}
</style>
<defs><pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="7" height="7" fill="#f8e3b8"/><rect width="3" height="7" fill="#e09a2d"/></pattern></defs>`
