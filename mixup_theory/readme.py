"""The parts of README.md that come from a stored ledger: `python -m mixup_theory.readme` writes them anew."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from ._files import write_text_atomic
from .ledger import Ledger, markdown_table, read_ledger, refuted_markdown

__all__ = ["ROOT", "fill", "generated"]

ROOT = Path(__file__).resolve().parent.parent


def generated(ledger: Ledger) -> dict[str, str]:
    """Return the text of every generated part, by its name.

    Args:
        ledger: The ledger of the committed reference results.

    Returns:
        `count` (how many claims, how many of each verdict), `ledger` (the table), `refuted` (what does not hold).
    """
    verdicts = Counter(claim.verdict for claim in ledger.claims)
    counts = ", ".join(f"{verdicts[name]} {name}" for name in ("supported", "refuted", "inconclusive"))
    return {
        "count": f"{len(ledger.claims)} claims at scale {ledger.profile}: {counts}.\n",
        "ledger": markdown_table(ledger),
        "refuted": refuted_markdown(ledger),
    }


def fill(text: str, parts: dict[str, str]) -> str:
    r"""Put each part between its marks `<!-- name: begin -->` and `<!-- name: end -->`.

    Args:
        text: The document.
        parts: Text by name.

    Returns:
        The document with every part replaced.

    Raises:
        ValueError: If a mark is missing.

    Example:
        >>> fill("a <!-- x: begin -->old<!-- x: end --> b", {"x": "new"})
        'a <!-- x: begin -->\nnew<!-- x: end --> b'
    """
    for name, part in parts.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"`text` must have the marks {begin} and {end}; one is missing.")
        text = f"{before}{begin}\n{part}{end}{after}"
    return text


def main() -> int:
    """Write the generated parts of README.md from results/standard."""
    path = ROOT / "README.md"
    try:
        parts = generated(read_ledger(ROOT / "results" / "standard"))
        write_text_atomic(path, fill(path.read_text(encoding="utf-8"), parts))
    except (OSError, ValueError) as error:
        print(f"readme: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
