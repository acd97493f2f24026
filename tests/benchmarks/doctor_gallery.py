"""The gallery of faults and of healthy runs: what the doctor finds, and where it speaks without cause.

    python tests/benchmarks/doctor_gallery.py [--seeds 3]

A fault is found if one of its checks speaks, with at most one further warning. Advice is no alarm.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from doctor.every import FAULTS, HEALTHY, findings  # noqa: E402

from tipsai.core.text import table  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    rows, n_found = [], 0
    for fault in FAULTS:
        found = further = 0
        spoke: dict[str, None] = {}
        for seed in range(args.seeds):
            said = findings(fault.make(seed), fault.epochs)
            spoke |= dict.fromkeys(f.code for f in said)
            others = sum(f.code not in fault.codes and f.severity != "advice" for f in said)
            found += any(f.code in fault.codes for f in said) and others <= 1
            further += others
        n_found += found
        rows.append([fault.name, f"{found}/{args.seeds}", f"{further / args.seeds:.2g}", ", ".join(spoke)])
    print(table(rows, ["fault", "found", "further", "what spoke"]))
    n = len(FAULTS) * args.seeds
    print(f"\n{n_found} of {n} found ({n_found / n:.1%})\n")
    alarms = []
    for run in HEALTHY:
        for seed in range(args.seeds):
            learn = run.make(seed)
            learn.check(progress=False)
            learn.fit_one_cycle(10, progress=False)
            alarms += [[run.name, str(seed), f.severity, f.code] for f in learn.findings if f.severity != "advice"]
    if alarms:
        print(table(alarms, ["healthy run", "seed", "severity", "what spoke"]))
    print(f"{len(alarms)} alarms in {len(HEALTHY) * args.seeds} healthy runs")


if __name__ == "__main__":
    main()
