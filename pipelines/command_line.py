"""The command ``neurotools``: run pipelines, look at recordings, check the installation.

Heavy modules are imported inside the commands, so that ``--help`` and completion answer at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from neurotools._version import __version__
from neurotools.errors import NeurotoolsError, SettingsError

app = typer.Typer(
    name="neurotools",
    help="Labelled brain recordings to dynamic connectomes, switching models, bi-clusters and encoders.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

DEMO = ("dynamic-connectome", "songbird-hvc", ("smooth_s=0.06666666666666667", "rank=8"))

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
PipelineName = Annotated[
    str, typer.Argument(metavar="PIPELINE", help="A name from 'neurotools list', or a Python file.")
]


def main() -> None:
    """Entry point of the console script."""
    os.environ.setdefault("MPLBACKEND", "Agg")
    # A batch system ends jobs with SIGTERM; it means the same as Ctrl-C: stop, resumable.
    signal.signal(signal.SIGTERM, _interrupt)
    app()


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def spoken(json: bool = False, debug: bool = False) -> Iterator[None]:
    """Turn errors into plain words and exit status 2, and Ctrl-C into 130."""
    try:
        yield
    except NeurotoolsError as error:
        if debug:
            raise
        from . import terminal

        if json:
            terminal.as_json({**error.as_dict(), "exit_status": 2})
        else:
            terminal.show_error(error)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("\nInterrupted. The same command resumes where it stopped.", err=True)
        raise typer.Exit(130) from None
    except BrokenPipeError:  # the reader of a pipe (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None


def _version(asked: bool) -> bool:
    if asked:
        typer.echo(f"neurotools {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the command itself."""


# ---- looking ----------------------------------------------------------------------------------------------
@app.command("list")
def list_(json: AsJson = False) -> None:
    """List pipelines, samples, models and file formats."""
    with spoken(json):
        from . import catalogue, terminal

        everything = catalogue.everything()
        if json:
            terminal.as_json(everything)
            return
        for kind, entries in everything.items():
            terminal.heading(kind)
            terminal.rows(entries.items())
            terminal.out.print()


@app.command()
def info(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A file, a folder or a sample.")],
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say what a recording holds, and everything that the validator finds."""
    with spoken(json, debug):
        from . import inspection, terminal

        facts = inspection.of_source(source)
        terminal.as_json(facts) if json else inspection.show(facts)


@app.command()
def describe(  # noqa: PLR0917  (each is an argument of the command line)
    pipeline: PipelineName,
    source: Annotated[
        str | None,
        typer.Argument(metavar="SOURCE", help="Say what time and memory a run on it is expected to take."),
    ] = None,
    json: AsJson = False,
    schema: Annotated[bool, typer.Option(help="Print the JSON schema of the settings file.")] = False,
    yaml: Annotated[bool, typer.Option(help="Print a settings file with every default.")] = False,
    settings: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="Settings file of the run on SOURCE.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting of the run on SOURCE.")
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", help="Recordings at a time.", min=1)] = 1,
) -> None:
    """Show what a pipeline takes, gives, and can be set to; and what a run on a source would take."""
    with spoken(json):
        from . import catalogue, contract, describe, terminal
        from . import settings as reading

        chain = contract.pipeline(pipeline)
        if schema:
            terminal.as_json(describe.json_schema(chain))
            return
        if yaml:
            typer.echo(describe.template(chain), nl=False)
            return
        chosen = reading.gather(chain.settings, settings, set_ or ())
        facts = describe.as_dict(chain)
        if source is not None:
            facts["expected"] = describe.expected(chain, source, chosen, workers)
        terminal.as_json(facts) if json else catalogue.show(facts)


# ---- working ----------------------------------------------------------------------------------------------
@app.command()
def run(  # noqa: PLR0917  (each is an argument of the command line)
    pipeline: PipelineName,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A file, a folder, @list.txt or a sample.")],
    out: Annotated[Path | None, typer.Argument(metavar="OUT", help="Output folder (or --out).")] = None,
    level: Annotated[
        str | None, typer.Argument(metavar="LEVEL", help="participant or group; both by default.")
    ] = None,
    out_option: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Output folder (or OUT).")
    ] = None,
    settings: Annotated[Path | None, typer.Option(metavar="FILE.yaml", help="Settings file.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One setting: rank=6. May be repeated."),
    ] = None,
    rank: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Number of motifs, or auto: held-out data choose.")
    ] = None,
    participant_label: Annotated[
        list[str] | None, typer.Option(metavar="LABEL", help="Of a BIDS tree: only these participants.")
    ] = None,
    session_label: Annotated[
        list[str] | None, typer.Option(metavar="LABEL", help="Only these sessions.")
    ] = None,
    task: Annotated[list[str] | None, typer.Option(metavar="LABEL", help="Only these tasks.")] = None,
    bids_filter_file: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Entities to choose by, as fMRIPrep reads them.")
    ] = None,
    execution: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="Where to run: processes, dask or slurm.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Recordings at a time, in processes.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Threads of linear algebra per process.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="S", help="Root of the seeds of all recordings.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run a pipeline on every recording of a source. The same command resumes.

    Exit status: 0 fine, 1 some recordings failed, 2 bad settings or input, 130 interrupted and resumable.
    """
    with spoken(json, debug):
        folder, level = _out(out, level, out_option)
        from . import bids, runner

        only = bids.gathered(participant_label or (), session_label or (), task or (), bids_filter_file)
        plan = runner.make_plan(
            pipeline, source, folder, only=only, settings_file=settings,
            overrides=[*(set_ or ()), *_rank(rank)], level=level, execution=execution,
            workers=workers, threads=threads, seed=seed,
        )  # fmt: skip
        _carry_out(plan, dry_run=dry_run, json=json, debug=debug)


def _rank(rank: str | None) -> list[str]:
    """What ``--rank`` sets."""
    if rank is None:
        return []
    return ["auto_rank=true"] if rank == "auto" else [f"rank={rank}"]


def _out(out: Path | None, level: str | None, option: Path | None) -> tuple[Path, str | None]:
    """The output folder, given once, as OUT or as --out."""
    if option is not None and level is None and str(out) in ("participant", "group"):
        out, level = None, str(out)
    if out is not None and option is not None:
        raise SettingsError(
            "the output folder is given twice", code="NT-SET-003", found=f"{out} and --out {option}",
            fix="give OUT or --out, not both",
        )  # fmt: skip
    folder = out if option is None else option
    if folder is None:
        raise SettingsError(
            "there is no output folder", fix="neurotools run PIPELINE SOURCE OUT, or --out OUT"
        )
    return folder, level


def _carry_out(plan: Any, *, dry_run: bool = False, json: bool = False, debug: bool = False) -> None:
    from . import runner, terminal

    if dry_run:
        terminal.as_json(plan.as_dict()) if json else terminal.show_plan(plan)
        return
    start = time.perf_counter()
    if not json:
        terminal.show_start(plan)
    outcome = runner.carry_out(plan, terminal.Progress())
    if json:
        terminal.as_json(outcome.as_dict())
    else:
        terminal.show_outcome(outcome, time.perf_counter() - start, debug)
    raise typer.Exit(outcome.exit_status)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Output folder.")] = Path(
        "neurotools-demo"
    ),
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run the main job on a real recording that ships with the package: a singing zebra finch."""
    with spoken(json, debug):
        from . import runner

        name, source, overrides = DEMO
        _carry_out(runner.make_plan(name, source, out, overrides=overrides), json=json, debug=debug)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Output folder of a run.")],
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Draw the figures and write the pages of a finished run again, without computing."""
    with spoken(json, debug):
        from . import again, terminal

        pages = again.rebuild_pages(folder)
        if json:
            terminal.as_json({"pages": [str(page) for page in pages]})
            return
        for page in pages:
            terminal.out.print(terminal.link(page))


@app.command()
def convert(  # noqa: PLR0917  (each is an argument of the command line)
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="'recording', or an encoder whose weights FILE holds: duin-base."
        ),
    ],
    file: Annotated[str, typer.Argument(metavar="FILE", help="A recording or sample; or a file of weights.")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Ends in .zarr or .nc; of weights, a new folder.")
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="A size of the network: n_memory=20. Of weights only."
        ),
    ] = None,
    prefix: Annotated[
        str, typer.Option(metavar="TEXT", help="What stands before every name in the file of weights.")
    ] = "",
    json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Convert a recording, or the published weights of an encoder, to an open format.

    Of weights every name must be used and accounted for, both ways, or nothing is written.
    """
    with spoken(json, debug):
        from . import conversion, terminal

        coverage = conversion.convert(name, file, out, set_ or (), prefix)
        if json:
            terminal.as_json({"written": str(out), **({"coverage": coverage} if coverage else {})})
            return
        if coverage:
            names = [(how, f"{foreign} -> {ours or 'not needed'}") for foreign, ours, how in coverage]
            terminal.rows(names, ("numbers", "name in the file -> here"))
            unused = sum(not ours for _, ours, _ in coverage)
            terminal.out.print(
                f"\n{len(coverage)} tensors in the file, {unused} known and not needed; none missing"
            )
        terminal.out.print("wrote ", terminal.link(out), sep="")


@app.command()
def doctor(json: AsJson = False, debug: Debug = False) -> None:
    """Check the installation: versions, extras, threads, devices, and that devices agree."""
    with spoken(json, debug):
        from . import checkup, terminal

        facts = checkup.examine()
        if json:
            terminal.as_json(facts)
        else:
            checkup.show(facts)
        raise typer.Exit(0 if facts["healthy"] else 1)
