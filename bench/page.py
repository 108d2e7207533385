"""docs/performance.md from the results in bench/results, for scripts/bench."""
import json
import re

HEAD = """# Performance

How fast Eyrie is, machine by machine, beside what the machine can do in the same process and beside its peers. `scripts/bench` measures all of it and
writes this page; `scripts/bench --quick` takes 3 minutes and names what became slower since the last result of the same kind of machine. Numbers are
medians of rounds in which the benchmarks take turns. Other measurements: [bench/results](../bench/results).

- **share of the product peak**: FLOPs of the model (docs/planning.md) per second over those of the fastest 2048³ product of the same process and dtype.
- **of copy**: bytes of all operands, each read or written once, per second over the bytes per second of copying 64 MB.
- **of bandwidth**: bytes of weights and states per decoded token over what a read-only sum of 256 MB reaches.
"""

NAMES = {"best": "a compiled PyTorch Griffin with a chunked scan", "hf": "transformers' RecurrentGemmaForCausalLM"}


def arguments(name):
    return dict(part.split(":") for part in name.split("/") if ":" in part)


def table(lines, heads, rows):
    lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    lines.append("")


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def dtype_of(values):
    return "bf16" if values.get("bf16") == "1" else "fp32"


def peers_part(lines, peers):
    rows = []
    for case, all_ in peers.items():
        size, length, dtype = case.split()
        own = all_["eyrie"]["tokens/s"]
        for name, values in all_.items():
            rows.append([size, length, dtype, name, number(values["tokens/s"]), f"{values['share_of_peak']:.2f}",
                         "" if name == "eyrie" else f"{own / values['tokens/s']:.2f}", number(values["peak_MB"]) if "peak_MB" in values else ""])
    lines += ["### Training beside PyTorch", "", "Whole steps of 2,048 tokens: forward, backward, clipping, AdamW. " +
              "; ".join(f"“{name}” is {what}" for name, what in NAMES.items()) + ".", ""]
    table(lines, ["size", "sequence", "dtype", "implementation", "tokens/s", "share of the product peak", "Eyrie / this", "peak memory, MB"], rows)


def machine_part(lines, result):
    about, results = result["machine"], result["results"]
    lines += [f"## {about['cores']} cores of {about['processor']} ({about['kind']})", "",
              f"{about['memory_gb']} GB. Measured: " + "; ".join(f"{group} {when}" for group, when in sorted(result["measured"].items())) + ".", ""]
    if result.get("peers"):
        peers_part(lines, result["peers"])
    groups = {}
    for name, counters in sorted(results.items()):
        group, _, rest = name.partition("/")
        groups.setdefault(group, []).append((rest, {key: value["median"] for key, value in counters.items()}))
    if "step" in groups:
        lines += ["### A training step", ""]
        rows = []
        for name, values in groups["step"]:
            of = arguments(name)
            others = sorted(((share, key[2:]) for key, share in values.items()
                             if key.startswith("% ") and key != "% products" and not key.startswith("% matmul")), reverse=True)[:4]
            rows.append([of["size"] + "m", of["length"], dtype_of(of), number(values["tokens/s"]), f"{values['share_of_peak']:.2f}",
                         f"{values.get('% products', 0):.0f} %", ", ".join(f"{key} {share:.1f} %" for share, key in others)])
        table(lines, ["size", "sequence", "dtype", "tokens/s", "share of the product peak", "products", "most time outside of them"], rows)
    if "operations" in groups:
        lines += ["### Operations outside of products", "", "Least, median and most of the shapes 1 × 8192, 8 × 1024 and 64 × 128 tokens with widths 256, 512 and 2560.", ""]
        kinds = {}
        for name, values in groups["operations"]:
            if arguments(name)["width"] == "16":
                continue  # compares numbers of threads
            kinds.setdefault((name.split("/")[0], dtype_of(arguments(name))), []).append(values["of_copy"])
        table(lines, ["operation", "dtype", "of copy"],
              [[*kind, " … ".join(f"{share:.2f}" for share in (min(all_), sorted(all_)[len(all_) // 2], max(all_)))] for kind, all_ in kinds.items()])
    for group, title in (("products", "Products of the 10m size"), ("attention", "Local attention, window 1,024")):
        if group in groups:
            lines += [f"### {title}", ""]
            table(lines, ["product", "dtype", "GFLOP/s", "of peak"],
                  [[name.split("/bf16")[0], dtype_of(arguments(name)), number(values["FLOP/s"] / 1e9), f"{values['of_peak']:.2f}"]
                   for name, values in groups[group]])
    if "decode" in groups:
        lines += ["### Decoding with the 60m size", ""]
        rows = []
        for name, values in groups["decode"]:
            of = arguments(name)
            rows.append([{"32": "fp32", "16": "bf16"}.get(of["weights"], "int8"), of["sequences"], of["prompt"], number(values["tokens/s"]), f"{values['of_bandwidth']:.2f}",
                         number(values["prefill_tokens/s"])])
        table(lines, ["weights", "sequences", "prompt", "tokens/s", "of bandwidth", "prefill tokens/s"], rows)
    rest = []
    for group in ("few_rows", "exchange", "commands"):
        for name, values in groups.get(group, []):
            for counter, value in values.items():
                rate = re.match(r"bytes", counter)
                rest.append([f"{group} {name}", f"{value / 1e9:.3g} GB/s" if rate else f"{number(value)} {counter}"])
    if rest:
        lines += ["### The rest", ""]
        table(lines, ["what", "median"], rest)


def write_page(folder, page):
    lines = [HEAD]
    for file in sorted(folder.glob("*.json")):
        if not file.name.endswith(".quick.json"):
            machine_part(lines, json.loads(file.read_text()))
    page.write_text("\n".join(lines).rstrip() + "\n")
