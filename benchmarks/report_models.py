"""Writes the tables of whole models in README.md, and gnuplot scripts, from the lines of JSON that models.py printed.

    report_models.py RESULTS.jsonl README.md FOLDER

Of several lines about one model, precision, number of threads and implementation the last counts. The tables stand between
the two marks in README.md. FOLDER gets plot-models-THREADS.gp, which draw models-THREADS.svg beside README.md.
"""
import json
import math
import os
import sys

BEGIN, END = "<!-- models: begin -->", "<!-- models: end -->"
PEERS = ["onnxruntime", "openvino"]
COLORS = {"onnxc": "#d62728", "onnxruntime": "#ff7f0e", "openvino": "#ffbb78"}


def load(path):
    """{(precision, threads): {model: {impl: row}}}, in the order of the first measurement."""
    tables = {}
    with open(path) as lines:
        for line in lines:
            row = json.loads(line)
            tables.setdefault((row["precision"], row["threads"]), {}).setdefault(row["model"], {})[row["impl"]] = row
    return tables


def ratio(rows, peer):
    """Our time over the peer's: the median of the rounds' ratios, as both had one window in each."""
    ours, theirs = rows.get("onnxc", {}), rows.get(peer, {})
    if "ms" not in ours or "ms" not in theirs:
        return None
    ratios = sorted(a / b for a, b in zip(ours["rounds"], theirs["rounds"]))
    return (ratios[(len(ratios) - 1) // 2] + ratios[len(ratios) // 2]) / 2


def cell(row):
    if not row or "ms" not in row:
        return "-" if row else ""
    text = f"{row['ms']:.3g}" if row["ms"] < 100 else f"{row['ms']:.0f}"
    return text + (f" ({100 * row['share_of_peak']:.0f})" if row.get("share_of_peak") else "")


def summary(models, peer):
    ratios = [r for r in (ratio(rows, peer) for rows in models.values()) if r]
    if not ratios:
        return []
    mean = math.exp(sum(math.log(r) for r in ratios) / len(ratios))
    worst = max((ratio(rows, peer) or 0, name) for name, rows in models.items())
    return [f"- time over that of {peer}: geometric mean {mean:.3f} over {len(ratios)} models, largest {worst[0]:.3f} ({worst[1]})"]


def section(precision, threads, models):
    lines = [f"### Models, {precision}, {threads} thread{'s' if threads > 1 else ''}", "",
             "| ms (% of the f32 peak) | onnxc | " + " | ".join(PEERS) + " | " + " | ".join("onnxc / " + p for p in PEERS) + " | load, s |",
             "|---" * (3 + 2 * len(PEERS)) + "|"]
    for name, rows in models.items():
        ratios = [ratio(rows, peer) for peer in PEERS]
        ours = rows.get("onnxc", {})
        lines.append(f"| {name} | " + " | ".join([cell(rows.get(impl)) for impl in ["onnxc"] + PEERS]
                     + [f"{r:.3f}" if r else "" for r in ratios]
                     + [f"{ours['load']:.2f}" if ours.get("load") else ""]) + " |")
    lines.append("")
    for peer in PEERS:
        lines += summary(models, peer)
    for name, rows in models.items():
        lines += [f"- {impl}, {name}: {row['error']}" for impl, row in rows.items() if "error" in row]
    return lines + [""]


def plot(threads, tables, svg):
    """One graph a precision, one group a model, one bar an implementation: time over ONNX Runtime's (f32)."""
    chosen = {p: models for (p, t), models in tables.items() if t == threads}
    out = [f'set terminal svg noenhanced size 1500,{360 * len(chosen) + 20} font "sans,11" background "white"', f'set output "{svg}"',
           "set style data histogram", "set style histogram clustered gap 1.5", "set style fill solid 1.0 border -1",
           "set border 3", "set xtics nomirror rotate by -25 left", "set ytics nomirror 0.25", "set grid ytics lw 0.5",
           "set yrange [0:1.5]", "set key outside right top Left reverse", f"set multiplot layout {len(chosen)},1"]
    for precision, models in chosen.items():
        impls = ["onnxc"] + PEERS
        out.append(f"$data_{precision} << end")
        for name, rows in models.items():
            base = rows.get("onnxruntime", {}).get("ms") or tables.get(("f32", threads), {}).get(name, {}).get("onnxruntime", {}).get("ms")
            times = [rows.get(impl, {}).get("ms") for impl in impls]
            out.append(f'"{name}" ' + " ".join(f"{t / base:.3f}" if t and base else "?" for t in times))
        bars = [f'$data_{precision} using {2 + i}{":xtic(1)" if i == 0 else ""} title "{impl}" lc rgb "{COLORS[impl]}"'
                for i, impl in enumerate(impls)]
        out += ["end", 'set datafile missing "?"',
                f'set title "{precision}, {threads} thread{"s" if threads > 1 else ""}: time over that of ONNX Runtime in f32"',
                "plot " + ", \\\n     ".join(bars)]
    return "\n".join(out + ["unset multiplot", ""])


def main():
    results, readme, folder = sys.argv[1:]
    tables = load(results)
    versions = {impl: row["version"] for models in tables.values() for rows in models.values() for impl, row in rows.items() if "version" in row}
    cpus = {row["cpu"] for models in tables.values() for rows in models.values() for row in rows.values() if "cpu" in row}
    dates = [row["date"] for models in tables.values() for rows in models.values() for row in rows.values() if "date" in row]
    lines = [f"{', '.join(sorted(cpus))}, measured until {max(dates)}; " + ", ".join(f"{i} {v}" for i, v in versions.items()) + ".", ""]
    counts = sorted({threads for _, threads in tables})
    for threads in counts:
        lines += [f"![Time over that of ONNX Runtime, {threads} thread{'s' if threads > 1 else ''}](models-{threads}.svg)", ""]
    for key in sorted(tables, key=lambda k: (k[1], k[0] != "f32")):
        lines += section(*key, tables[key])
    with open(readme) as file:
        head, rest = file.read().split(BEGIN)
    with open(readme, "w") as file:
        file.write(head + BEGIN + "\n\n" + "\n".join(lines).rstrip() + "\n\n" + END + rest.split(END)[1])
    for threads in counts:
        with open(os.path.join(folder, f"plot-models-{threads}.gp"), "w") as file:
            file.write(plot(threads, tables, os.path.join(os.path.dirname(readme), f"models-{threads}.svg")))


main()
