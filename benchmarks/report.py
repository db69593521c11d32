"""Writes the tables of README.md, and gnuplot scripts, from the lines of JSON that onnxc-bench printed.

    report.py RESULTS.jsonl README.md FOLDER

Of several lines about one case, dtype, number of threads and implementation the last counts. The tables stand between the
two marks in README.md. FOLDER gets plot-THREADS.gp, which draw share-THREADS.svg beside README.md.
"""
import json
import math
import os
import sys

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
IMPLS = ["onnxc", "onednn2", "onednn3", "libxsmm", "mkl", "openblas", "blis", "onnxruntime", "openvino"]
COLORS = ["#d62728", "#1f77b4", "#6baed6", "#2ca02c", "#9467bd", "#8c564b", "#c49c94", "#ff7f0e", "#ffbb78"]
DTYPES = ["f32", "bf16", "u8s8s32", "u8s8u8"]


def load(path):
    """The machines' lines; and {(dtype, threads): {case: {impl: row}}}, in the order of the first measurement."""
    machines, tables = {}, {}
    with open(path) as lines:
        for line in lines:
            row = json.loads(line)
            if "cpu" in row:
                machines[row["dtype"], row["threads"]] = row
            else:
                rows = tables.setdefault((row["dtype"], row["threads"]), {}).setdefault(row["case"], {})
                rows[row["impl"]] = row
                if row["impl"] == "onnxc":  # it comes first in a run: other rows are of an earlier one, no pairs
                    for other in rows.values():
                        other.pop("onnxc_ratio", None)
    return machines, tables


def is_bandwidth_bound(rows):
    return any("share_of_bandwidth" in row for row in rows.values())


def in_first_group(case):
    """GEMMs whose sides are all multiples of 64, and MLPs; the rest is the second group."""
    return case.startswith("mlp") or (case.count("x") == 2 and all(int(side) % 64 == 0 for side in case.split("x")))


def best_peer(rows):
    """(ratio of onnxc to it by paired windows, its name), of the peer that onnxc is the slowest against."""
    ratios = []
    ours = rows.get("onnxc", {})
    for impl, row in rows.items():
        if impl == "onnxc" or "gflops" not in row or "gflops" not in ours:
            continue
        ratios.append((row.get("onnxc_ratio", ours["share_of_peak"] / row["share_of_peak"]), impl))
    return min(ratios) if ratios else None


def cell(row, bandwidth):
    if not row or "gflops" not in row:
        return {"absent": "absent", "not offered": "-"}.get(row.get("error") if row else None, "failed" if row else "")
    share = row["share_of_bandwidth"] if bandwidth else row["share_of_peak"]
    figure = row["gbps"] if bandwidth else row["gflops"]
    return f"{figure:.0f} ({100 * share:.0f})"


def mean(ratios):
    return math.exp(sum(math.log(r) for r in ratios) / len(ratios)) if ratios else None


def table(cases, impls, bandwidth):
    unit = "GB/s (% of the bandwidth)" if bandwidth else "GFLOP/s (% of the peak)"
    lines = ["| " + unit + " | " + " | ".join(impls) + " | onnxc / best peer |", "|---" * (len(impls) + 2) + "|"]
    for case, rows in cases:
        best = best_peer(rows)
        cells = [cell(rows.get(impl), bandwidth) for impl in impls]
        lines.append(f"| {case} | " + " | ".join(cells) + " | " + (f"{best[0]:.3f} ({best[1]})" if best else "") + " |")
    return lines


def section(dtype, threads, cases, machine):
    lines = [f"### {dtype}, {threads} thread{'s' if threads > 1 else ''}", ""]
    if machine:
        lines += [f"{machine['ports']} `{machine['instruction']}` a clock and core: {machine['peak_gflops']:.0f} GFLOP/s at "
                  f"{machine['clock_ghz']:.2f} GHz.", ""]
    impls = [impl for impl in IMPLS if any("gflops" in rows.get(impl, {}) for rows in cases.values())]
    for bandwidth in (False, True):
        chosen = [(case, rows) for case, rows in cases.items() if is_bandwidth_bound(rows) == bandwidth]
        if chosen:
            lines += table(chosen, impls, bandwidth) + [""]
    groups = [[], []]
    for case, rows in cases.items():
        best = best_peer(rows)
        if best:
            groups[0 if in_first_group(case) else 1].append(best[0])
    for name, ratios in zip(("multiples of 64, and MLPs", "other cases"), groups):
        if ratios:
            lines.append(f"- {name}: geometric mean of the ratios {mean(ratios):.3f}, least {min(ratios):.3f}")
    missing = {}
    for case, rows in cases.items():
        for impl, row in rows.items():
            if "error" in row and row["error"] != "not offered":
                missing.setdefault((impl, row["error"]), []).append(case)
    for (impl, error), names in missing.items():
        lines.append(f"- {impl}, {', '.join(names) if len(names) < len(cases) else 'all cases'}: {error}")
    return lines + [""]


def report(machines, tables):
    lines = []
    versions = {}
    for cases in tables.values():
        for rows in cases.values():
            versions.update((impl, row["version"]) for impl, row in rows.items())
    machine = list(machines.values())[-1] if machines else None
    if machine:
        lines += [f"{machine['cpu']}, measured until {max(m['date'] for m in machines.values())}"
                  + ("" if machine["real_time"] else ", without real-time scheduling") + ".", ""]
    lines += ["| implementation | version |", "|---|---|"]
    lines += [f"| {impl} | {versions[impl]} |" for impl in IMPLS if impl in versions] + [""]
    lines += ["![Share of the peak, one thread](share-1.svg)", ""] if any(t == 1 for _, t in tables) else []
    lines += ["![Share of the peak, two threads](share-2.svg)", ""] if any(t == 2 for _, t in tables) else []
    for threads in sorted({t for _, t in tables}):
        for dtype in DTYPES:
            if (dtype, threads) in tables:
                lines += section(dtype, threads, tables[dtype, threads], machines.get((dtype, threads)))
    return "\n".join(lines)


def plot(threads, tables, svg):
    """One graph a dtype, one group a case, one bar an implementation."""
    dtypes = [d for d in DTYPES if (d, threads) in tables]
    out = [f'set terminal svg size 1500,{330 * len(dtypes) + 40} font "sans,11" background "white"',
           f'set output "{svg}"', "set style data histogram", "set style histogram clustered gap 1.5",
           "set style fill solid 1.0 border -1", "set border 3", "set xtics nomirror rotate by -25 left",
           "set ytics nomirror 20", "set grid ytics lw 0.5", "set yrange [0:105]",
           "set key outside right top Left reverse", f"set multiplot layout {len(dtypes)},1"]
    for dtype in dtypes:
        cases = tables[dtype, threads]
        impls = [impl for impl in IMPLS if any("gflops" in rows.get(impl, {}) for rows in cases.values())]
        out.append(f"$data_{dtype} << end")
        for case, rows in cases.items():
            bandwidth = is_bandwidth_bound(rows)
            values = []
            for impl in impls:
                share = rows.get(impl, {}).get("share_of_bandwidth" if bandwidth else "share_of_peak")
                values.append("?" if share is None else f"{100 * min(share, 1.05):.1f}")
            out.append(f'"{case}{" (bandwidth)" if bandwidth else ""}" ' + " ".join(values))
        out += ["end", 'set datafile missing "?"',
                f'set title "{dtype}, {threads} thread{"s" if threads > 1 else ""}: % of the peak"']
        bars = [f'$data_{dtype} using {2 + i}{":xtic(1)" if i == 0 else ""} title "{impl}" '
                f'lc rgb "{COLORS[IMPLS.index(impl)]}"' for i, impl in enumerate(impls)]
        out.append("plot " + ", \\\n     ".join(bars))
    return "\n".join(out + ["unset multiplot", ""])


def main():
    results, readme, folder = sys.argv[1:]
    machines, tables = load(results)
    with open(readme) as file:
        text = file.read()
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    with open(readme, "w") as file:
        file.write(head + BEGIN + "\n\n" + report(machines, tables).rstrip() + "\n\n" + END + tail)
    for threads in {t for _, t in tables}:
        with open(os.path.join(folder, f"plot-{threads}.gp"), "w") as file:
            file.write(plot(threads, tables, os.path.join(os.path.dirname(readme), f"share-{threads}.svg")))


main()
