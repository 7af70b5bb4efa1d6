"""How results, errors and progress look on a terminal."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from neurotools import progress
from neurotools.errors import NeurotoolsError

from .job import Record
from .runner import Outcome, Plan, Watcher

GOOD, BAD, QUIET, NOTE = "green", "red", "bright_black", "yellow"
SIGN = {"done": ("✓", GOOD), "reused": ("↺", GOOD), "skipped": ("↺", GOOD), "failed": ("✗", BAD)}

WIDEST = 28  # characters of any column but the last

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def as_json(content: Any) -> None:
    """Print plain data as JSON on the standard output, and nothing else."""
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n")


def link(path: Path) -> Text:
    """A path that a terminal opens at a click."""
    path = path.resolve()
    return Text(str(path), style=f"bold link {path.as_uri()}")


def heading(text: str) -> None:
    """A line above a table."""
    out.print(Text(text, style="bold"))


def rows(entries: Iterable[Sequence[Any]], header: Sequence[str] = (), indent: int = 2) -> None:
    """Print a table without lines; long columns wrap, the last one where a terminal ends."""
    listed = [[_text(cell) for cell in entry] for entry in entries]
    if header:
        listed.insert(0, [Text(name, QUIET) for name in header])
    last = max((len(entry) for entry in listed), default=1) - 1
    widths = [min(max(entry[i].cell_len for entry in listed), WIDEST) for i in range(last)]
    left = indent + sum(widths) + 2 * last
    room = max(out.width - left, 24) if out.is_terminal else 1 << 20
    for entry in listed:
        cells = [cell.wrap(out, max(width, 1)) for cell, width in zip(entry, [*widths, room], strict=True)]
        for line in zip_longest(*cells, fillvalue=Text("")):
            shown = Text(" " * indent)
            for cell, width in zip(line, [*widths, 0], strict=True):
                cell.rstrip()
                shown += cell + Text(" " * (width - cell.cell_len + 2))
            shown.rstrip()
            out.print(shown)


def _text(value: Any) -> Text:
    return value if isinstance(value, Text) else Text("" if value is None else str(value))


# ---- errors -----------------------------------------------------------------------------------------------
def show_error(error: NeurotoolsError | Mapping[str, Any]) -> None:
    """What is wrong, where, and what to do, in plain lines."""
    fields = error.as_dict() if isinstance(error, NeurotoolsError) else dict(error)
    code = f"  {fields['code']}" if fields.get("code") else ""
    err.print(Text.assemble(("✗ ", BAD), (str(fields["problem"]), "bold"), (code, QUIET)))
    for name in ("path", "where", "found", "expected", "fix"):
        if fields.get(name):
            err.print(Text.assemble((f"  {name:9}", QUIET), str(fields[name])))


def show_failures(records: Sequence[Record], named: bool, debug: bool) -> None:
    """Why recordings failed, each with its traceback when asked for."""
    for record in records:
        if record.error is None:
            continue
        if named:
            err.print(Text(f"\n{record.name}", style="bold"))
        show_error({**record.error, "problem": record.error["problem"] or record.error["error"]})
        known = record.error.get("code") is not None
        if record.traceback and (debug or not known):
            err.print(Text(record.traceback, style=QUIET))


# ---- a run ------------------------------------------------------------------------------------------------
def seconds(value: float) -> str:
    """A duration as people say it."""
    if value < 100:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def show_plan(plan: Plan) -> None:
    """What a run would do."""
    facts = plan.as_dict()
    heading(f"{plan.pipeline} would write to {plan.out}")
    rows([(entry["name"], entry["state"], entry["source"]) for entry in facts["recordings"]],
         ("recording", "state", "source"))  # fmt: skip
    if plan.found.left_out:
        left = plan.found.left_out
        out.print(Text(f"  {len(left)} files are no recordings: {', '.join(left[:6])}", style=QUIET))
    heading("with")
    from .settings import names

    shown = [(k, _plain(v)) for k, v in names(plan.chosen).items()]
    rows(shown)


def _plain(value: Any) -> str:
    return type(value).__name__ if hasattr(value, "__dataclass_fields__") else json.dumps(value, default=str)


def show_start(plan: Plan) -> None:
    """What is being done, and where to."""
    recordings = plan.found.recordings
    what = recordings[0].name if not plan.found.several else f"{len(recordings)} recordings"
    err.print(Text.assemble((plan.pipeline, "bold"), f" on {what} → {plan.out}"))


def show_outcome(outcome: Outcome, took: float, debug: bool) -> None:
    """What became of the recordings, and where to look."""
    records = outcome.records
    counts = {state: sum(r.status == state for r in records) for state in ("done", "skipped", "failed")}
    if outcome.several:
        listed = [
            (Text(*SIGN[r.status]), r.name, r.status, seconds(r.seconds) if r.seconds else "")
            for r in records
        ]  # fmt: skip
        rows(listed)
    show_failures([r for r in records if r.status == "failed"], outcome.several, debug)
    if counts["failed"] == len(records):
        return
    said = []
    if counts["done"]:
        said.append(f"{counts['done']} done")
    if counts["skipped"]:
        said.append(f"{counts['skipped']} unchanged")
    if counts["failed"]:
        said.append(f"{counts['failed']} failed")
    if not outcome.several:
        nothing = "Nothing to do: the result is complete and nothing it depends on has changed."
        summary = nothing if counts["skipped"] else f"Done in {seconds(took)}."
    else:
        summary = f"{', '.join(said)}, in {seconds(took)}."
    out.print(summary)
    if outcome.page is not None:
        out.print(Text("Look at it:  "), link(outcome.page), sep="")


class _HowFar(ProgressColumn):
    """Rounds done, time taken, and time left where it can be told."""

    def render(self, task: Any) -> Text:
        """One line of text."""
        said = []
        if task.total:
            said.append(
                f"{task.completed:.0%}" if task.total == 1.0 else f"{task.completed:g} of {task.total:g}"
            )
        said.append(_clock(task.elapsed or 0.0))
        if task.total and task.time_remaining is not None:
            said.append(f"{_clock(task.time_remaining)} left")
        return Text("   ".join(said), style=QUIET)


def _clock(value: float) -> str:
    minutes, rest = divmod(int(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress(Watcher):
    """Shows a running pipeline: the steps of one recording, or the recordings of a collection.

    Where the output is no terminal nothing is shown.
    """

    def __init__(self) -> None:
        self.bars = Bars(
            TextColumn(" "), SpinnerColumn("dots"), TextColumn("{task.description:24}"),
            BarColumn(32, complete_style=GOOD, pulse_style=GOOD), _HowFar(),
            console=err, transient=True, disable=not err.is_terminal,
        )  # fmt: skip
        self.ear = contextlib.ExitStack()
        self.several = False
        self.task: Any = None
        self.begun = 0.0

    def begin(self, plan: Plan) -> None:
        """Open the bar."""
        self.several = plan.found.several
        self.bars.start()
        if self.several:
            self.task = self.bars.add_task("recordings", total=len(plan.jobs))
        self.ear.enter_context(progress.listening(self.tick))

    def step(self, name: str, step: str, state: str) -> None:
        """Show the step of a recording."""
        if self.several:
            self.bars.update(self.task, description=f"{name}  {step}")
            return
        if state == "begun":
            self.begun = time.perf_counter()
            self.task = self.bars.add_task(step, total=None)
            return
        if self.task is not None:
            self.bars.remove_task(self.task)
            self.task = None
        if err.is_terminal:
            sign, colour = SIGN[state]
            took = seconds(time.perf_counter() - self.begun)
            kept = "  kept from before" if state == "reused" else ""
            self.bars.console.print(
                Text.assemble("  ", (sign, colour), f" {step:24}", (f"{took:>9}", QUIET), (kept, QUIET))
            )

    def ended(self, record: Record) -> None:
        """Count a recording."""
        if self.several:
            self.bars.advance(self.task)

    def end(self) -> None:
        """Take the bar away."""
        self.ear.close()
        self.bars.stop()

    def tick(self, title: str, share: float) -> None:
        """Move the bar of the step that is going on."""
        if not self.several and self.task is not None:
            self.bars.update(self.task, completed=share, total=1.0)
