"""Run the suite: the notebooks at one scale, then the ledger of their claims. `python reproduce.py --help`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from mixup_theory.execution import Job, Outcome
    from mixup_theory.parameters import Notebook, Profile

ROOT = Path(__file__).resolve().parent
EXAMPLES = """examples:
  python reproduce.py                             every notebook, digits and synthetic data, no download
  python reproduce.py --profile standard          the scale of results/standard
  python reproduce.py --only 02 circles           by number or part of a name
  python reproduce.py --list --only 02            what notebook 02 can be given
  python reproduce.py --only 02 -p 02.seed=1      with another seed
  python reproduce.py --profile standard --check  do the stored rows give the stored verdicts?

An interrupted run goes on where it was: finished notebooks are kept, and trained runs are read from the cache.
exit status: 0 all well; 1 a notebook failed or a check did not hold; 2 not run, the line says why; 130 stopped."""


class Parser(argparse.ArgumentParser):
    """Reports a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the mistake and exit with status 2."""
        self.exit(2, f"reproduce.py: {message}; see --help\n")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; imports nothing, so that --help works before anything is installed."""
    parser = Parser("reproduce.py", description=__doc__.split(".")[0] + ".", epilog=EXAMPLES, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--profile", default="quick", metavar="NAME", help="scale: quick (default), standard or gpu")
    add("--only", nargs="+", default=[], metavar="NOTEBOOK", help="numbers, names or parts of names")
    add("--list", action="store_true", help="list the notebooks and scales; with --only, the parameters too")
    add("--check", action="store_true", help="recompute every verdict from the stored rows, run nothing")
    add("--fresh", action="store_true", help="run again what is finished and compute again what is cached")
    add("--jobs", type=int, metavar="N", help="notebooks at the same time (default: cores, at most 4; GPU: 1)")
    add("--device", default="auto", choices=("auto", "cpu", "cuda"), help="where networks are trained")
    add("--scheduler", default="", metavar="ADDRESS", help="existing Dask cluster, tcp://host:port or tls://host:port")
    add("--data", type=Path, metavar="DIR", help="folder that already has the data sets' official files")
    add("--output", type=Path, default=None, metavar="DIR", help="results go to DIR/<profile> (default: results)")
    add("-p", action="append", default=[], metavar="NOTEBOOK.NAME=VALUE", help="one parameter of one notebook")
    args = parser.parse_args(argv)
    if args.jobs is not None and args.jobs < 1:
        parser.error(f"--jobs must be at least 1, got {args.jobs}")
    return args


@dataclass(frozen=True)
class Plan:
    """What one call of the suite is to do."""

    root: Path
    profile: Profile
    notebooks: dict[str, Notebook]
    folder: Path
    overrides: dict[str, dict[str, Any]]
    args: argparse.Namespace


def make_plan(args: argparse.Namespace, root: Path) -> Plan:
    """Find out what is asked for.

    Returns:
        The plan, with every name in it known.

    Raises:
        UsageError: With one line that names what would be valid.
    """
    from mixup_theory.parameters import HIDDEN_PROFILE, UsageError, load_profiles, parse_override, read_notebook, select

    profiles = load_profiles(root / "profiles.toml")
    if args.profile not in profiles:
        raise UsageError(
            f"no profile `{args.profile}`; there are {', '.join(p for p in profiles if p != HIDDEN_PROFILE)}"
        )
    profile = profiles[args.profile]
    every = {path.stem: read_notebook(path) for path in sorted((root / "notebooks").glob("*.ipynb"))}
    picked = select(list(every), args.only)
    at_scale = [name for name in picked if name in profile.values]
    lost = [name for name in picked if args.only and name not in at_scale]
    if lost or not at_scale:
        has = [name for name in every if name in profile.values]
        raise UsageError(f"not at scale {profile.name}: {', '.join(lost)}; at that scale: {', '.join(has)}")
    overrides: dict[str, dict[str, Any]] = {}
    for text in args.p:
        name, parameter, value = parse_override(text, every)
        if name not in at_scale:
            raise UsageError(f"-p {text}: {name} is not among the notebooks to run: {', '.join(at_scale)}")
        overrides.setdefault(name, {})[parameter] = value
    folder = (args.output or root / "results").absolute() / profile.name
    return Plan(root, profile, {name: every[name] for name in at_scale}, folder, overrides, args)


def make_jobs(plan: Plan) -> list[Job]:
    """Turn the plan into one job per notebook, its parameters complete and of the declared types.

    Returns:
        The jobs, in reading order.

    Raises:
        UsageError: If the profile gives a notebook what it does not take.
    """
    from mixup_theory.execution import Job
    from mixup_theory.parameters import fill
    from mixup_theory.results import fingerprint

    def place(path: Path, notebook: Notebook) -> str:
        """Inside the checkout relative to the notebook, so that an executed copy names no folder of this machine."""
        inside = path.is_relative_to(plan.root)
        return Path(os.path.relpath(path, notebook.path.parent)).as_posix() if inside else str(path)

    jobs = []
    for name, notebook in plan.notebooks.items():
        standard = {
            "profile": plan.profile.name,
            "output_dir": place(plan.folder / name, notebook),
            "cache_dir": place(plan.folder / "cache", notebook),
            "device": plan.args.device,
            "data_dir": str(plan.args.data.absolute()) if plan.args.data else "",
            "scheduler": plan.args.scheduler,
        }
        values = fill(notebook, plan.profile, standard, plan.overrides.get(name, {}))
        limit, key = plan.profile.limit(name), fingerprint(notebook, values)
        jobs.append(Job(str(notebook.path), str(plan.folder / name), plan.profile.name, values, limit, key))
    return jobs


def check_places(plan: Plan) -> None:
    """Make the output folder and look at the device, the data folder and the cluster.

    Raises:
        UsageError: If the folder cannot be written, the data folder is missing, or there is no GPU.
        ClusterError: If no scheduler answers.
    """
    from mixup_theory.parameters import UsageError

    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=plan.folder).close()
    except OSError as error:
        raise UsageError(f"cannot write in {plan.folder}: {error.strerror}; choose a folder with --output") from None
    if plan.args.data and not plan.args.data.is_dir():
        raise UsageError(f"--data {plan.args.data} is not a folder")
    if plan.args.device == "cuda" and not plan.args.scheduler:
        import torch

        if not torch.cuda.is_available():
            raise UsageError("--device cuda: PyTorch finds no GPU here; use --device cpu")
    if plan.args.scheduler:
        from mixup_theory.experiments.cluster import count_workers

        print(f"{plan.args.scheduler}: {count_workers(plan.args.scheduler)} workers")


def run(plan: Plan) -> int:
    """Run the notebooks that are not finished, side by side, and rebuild the ledger.

    Returns:
        The exit status.
    """
    from mixup_theory import provenance
    from mixup_theory.execution import Outcome
    from mixup_theory.progress import Board, duration
    from mixup_theory.results import is_done
    from mixup_theory.runner import at_once, side_by_side, stop_signals, variables

    check_places(plan)
    jobs = {Path(job.notebook).stem: job for job in make_jobs(plan)}
    began, board, width = time.monotonic(), Board(sys.stdout), max(map(len, jobs))
    told = provenance.describe_run(plan.root, plan.args.device)
    outcomes: dict[str, Outcome] = {}
    for name, job in jobs.items():
        if not plan.args.fresh and is_done(plan.folder / name, job.key):
            outcomes[name] = Outcome("kept")
            board.say(f"{name:<{width}}  kept: finished before and unchanged since (--fresh runs it again)")
    took = provenance.past_seconds(plan.root / "results" / "standard") | provenance.past_seconds(plan.folder)
    order = sorted(jobs.keys() - outcomes.keys(), key=lambda name: (-took.get(name, 0), name))  # the longest first
    due, args = {name: jobs[name] for name in order}, plan.args
    env = variables(args.device, args.data, args.scheduler, args.fresh)
    with stop_signals() as received:
        try:
            with closing(side_by_side(due, *at_once(args.jobs, args.device), env, board)) as events:
                for name, outcome in events:
                    outcomes[name] = outcome
                    board.say(f"{name:<{width}}  {_ended(outcome, plan.folder / name)}")
                    entry = {**asdict(outcome), "parameters": due[name].parameters}
                    provenance.update(plan.folder, plan.profile.name, told, {name: entry})
        except KeyboardInterrupt:
            board.say("stopped; the same command goes on from here")
    fine = rebuild_ledger(plan)
    counts = Counter(outcome.status for outcome in outcomes.values())
    tally = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none finished"
    busy = sum(outcome.seconds for outcome in outcomes.values())
    outside = busy - sum(outcome.cell_seconds for outcome in outcomes.values())
    share = f", {outside / busy:.0%} of it outside notebook cells" if busy else ""
    print(f"{len(jobs)} notebook{'s' * (len(jobs) > 1)}: {tally}, in {duration(time.monotonic() - began)}{share}")
    bad = [name for name, outcome in outcomes.items() if outcome.status not in ("finished", "kept")]
    for name in bad:
        print(f"  {name}  {_ended(outcomes[name], plan.folder / name)}")
    return 128 + received[0] if received else 1 if bad or not fine else 0


def _ended(outcome: Outcome, folder: Path) -> str:
    """Say how a notebook ended; where to look, if it ended badly."""
    from mixup_theory.progress import duration
    from mixup_theory.results import EXECUTED

    if outcome.status == "finished":
        return f"finished in {duration(outcome.seconds)}"
    where = f"; see {_short(folder / EXECUTED)}" if (folder / EXECUTED).exists() else ""
    return f"{outcome.status.upper()} after {duration(outcome.seconds)}: {outcome.message}{where}"


def _short(path: Path) -> str:
    """Name a path from here where that is shorter."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def rebuild_ledger(plan: Plan) -> bool:
    """Decide every claim again from what lies in the results folder, and show those of this call's notebooks.

    Returns:
        Whether the ledger could be built.
    """
    from mixup_theory.ledger import LEDGER_FILE, collect, write_ledger
    from mixup_theory.recorder import CLAIMS_FILE
    from mixup_theory.results import is_finished

    finished = [path.parent.name for path in plan.folder.glob(f"*/{CLAIMS_FILE}") if is_finished(path.parent)]
    try:
        ledger = collect(plan.folder, finished)
        path = write_ledger(ledger, plan.folder)
    except (ValueError, OSError) as error:
        print(f"{LEDGER_FILE} not written: {error}")
        return False
    shown = [claim for claim in ledger.claims if claim.notebook in plan.notebooks]
    width = max((len(claim.id) for claim in shown), default=0)
    for claim in shown:
        print(f"  {claim.id:<{width}}  {claim.verdict:<12}  {claim.measured_text()}")
    counts = Counter(claim.verdict for claim in ledger.claims)
    print(f"{_short(path)}: {len(ledger.claims)} claims" + "".join(f", {n} {verdict}" for verdict, n in counts.items()))
    return True


def check(plan: Plan) -> int:
    """Say whether what is stored follows from the stored rows; run and write nothing.

    Returns:
        The exit status.
    """
    from mixup_theory.results import find_differences

    differences = find_differences(plan.folder, plan.notebooks)
    for difference in differences:
        print(difference)
    found = f"{len(differences)} differences" if differences else "every verdict follows from its rows"
    print(f"{_short(plan.folder)}, {len(plan.notebooks)} notebooks: {found}")
    return 1 if differences else 0


def show_list(plan: Plan, root: Path) -> int:
    """List notebooks and scales; for notebooks asked for by name, their parameters and the values at this scale.

    Returns:
        The exit status.
    """
    from mixup_theory.parameters import HIDDEN_PROFILE, STANDARD, load_profiles

    profiles = [profile for name, profile in load_profiles(root / "profiles.toml").items() if name != HIDDEN_PROFILE]
    width = max(map(len, plan.notebooks))
    for name, notebook in plan.notebooks.items():
        scales = " ".join(profile.name for profile in profiles if name in profile.values)
        print(f"{name:<{width}}  {notebook.title}  [{scales}]")
        if plan.args.only:
            for parameter in notebook.parameters.values():
                if parameter.name not in STANDARD:
                    value = plan.profile.values[name].get(parameter.name, parameter.default)
                    print(f"  {parameter.name}: {parameter.annotation} = {value!r}  # {parameter.meaning}")
    for profile in profiles:
        print(f"--profile {profile.name:<10} {profile.description}")
    return 0


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Do what the command line says.

    Returns:
        The exit status.
    """
    args = parse(argv)
    try:
        return obey(args, root)
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        print(f"reproduce.py: {error}; `make reproduce` sets the environment up", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, say; the text names the file
        print(f"reproduce.py: {error}", file=sys.stderr)
        return 1


def obey(args: argparse.Namespace, root: Path) -> int:
    """Make the plan and carry it out.

    Returns:
        The exit status.
    """
    from mixup_theory.parameters import UsageError

    try:
        plan = make_plan(args, root)
        return show_list(plan, root) if args.list else check(plan) if args.check else run(plan)
    except (UsageError, ConnectionError) as error:
        print(f"reproduce.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
