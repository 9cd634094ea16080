"""The fault campaign: `python -m tox -e faults`, or `python -m faults` in the directory `tests`.

Rule: it ends with 1 when a promise was broken, and shows the seed with which it can be done again.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from faults.campaign import SCENARIOS, table
from faults.files import NotHere
from faults.ledger import Figures
from faults.writers import Plan

SHOWN = 20  # broken promises of a scenario


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__.splitlines()[0])
    parser.add_argument("scenario", nargs="*", help=f"parts of names; all by default: {', '.join(SCENARIOS)}")
    parser.add_argument("--seconds", type=float, default=60, help="for how long trouble comes again in each scenario")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="what chance begins with")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="of the storage's URL")
    return parser.parse_args()


def main() -> int:
    """Run scenarios one after the other, and print what was found."""
    asked = arguments()
    names = [name for name in SCENARIOS if not asked.scenario or any(part in name for part in asked.scenario)]
    options = {name: value_of(text) for name, text in (each.split("=", 1) for each in asked.option)}
    say(f"seed {asked.seed}, {asked.seconds:g} seconds for each of {', '.join(names)}")
    rows: list[tuple[str, Figures | str]] = []
    broken = not names
    for name in names:
        chance = random.Random(f"{asked.seed} {name}")
        try:
            with tempfile.TemporaryDirectory(prefix="sessionstore-faults-") as folder, SCENARIOS[name].servers() as on:
                figures = SCENARIOS[name].run(Plan(Path(folder), chance, asked.seconds, options), on)
        except NotHere as reason:
            rows.append((name, str(reason)))
        except Exception:
            say(traceback.format_exc())
            rows.append((name, "it failed: see above"))
            broken = True
        else:
            rows.append((name, figures))
            broken |= bool(figures.broken)
            say(*[f"{name}: {each}" for each in figures.broken[:SHOWN]])
        say(table(rows[-1:]).splitlines()[1])
    say("", table(rows), f"seed {asked.seed}: {'BROKEN' if broken else 'every promise was kept'}")
    return int(broken)


def value_of(text: str) -> Any:
    """A number, true, false, or just the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
