"""Commands on what a trained run learned: how their answers are shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from netassay.cli.command import Ask, Command, Format
from netassay.cli.output import answer, progress_of_chapters, progress_of_steps, say, written
from netassay.commands import sequences
from netassay.errors import ConfigError
from netassay.files import refuse_misplaced
from netassay.interpreting import interpret as interpret_run
from netassay.interpreting import reduce as reduce_run
from netassay.interpreting import transfer as transfer_run
from netassay.studies.aitac.interpret.config import InterpretConfig
from netassay.studies.aitac.transfer.config import TransferConfig


def interpret(ask: Ask, *, ensemble: bool = False, meme: Any = None, format: Format = "table") -> None:
    from netassay.performing import summarise

    with progress_of_chapters() as watch:
        interpretation = ask(watch=watch)
    if ensemble:
        peers = [peer for peer in interpretation.config["peers"].split(",") if peer]
        say(f"{len(peers)} repetitions: {', '.join(peers) or 'none in the store'}")
    if meme is not None:
        say(f"motifs written to {meme}")
    answer(summarise(interpretation), format)


def transfer(
    ask: Ask,
    *,
    out: Annotated[Path | None, Parameter(help="Page to write, one HTML file that works offline.")] = None,
    figures: Annotated[
        Path | None, Parameter(help="Also write every figure of the page as PNG, SVG, PDF and CSV here.")
    ] = None,
    format: Format = "table",
) -> None:
    from netassay.performing import summarise

    if figures is not None and out is None:
        raise ConfigError("--figures: figures are those of a page; give --out PAGE.html as well")
    if out is not None:
        refuse_misplaced(out)
    with progress_of_chapters() as watch:
        run = ask(watch=watch)
    answer(summarise(run), format)
    if out is not None:
        from netassay.presenting import report

        report([run], out, figures=figures, title="Transfer to another atlas")


def reduce(ask: Ask, *, format: Format = "table") -> None:
    from netassay.performing import summarise

    with progress_of_steps(None) as watch:
        run = ask(watch=watch)
    answer(summarise(run), format)


def predict(ask: Ask, *, out: Any, format: Format = "table") -> None:
    predictions = ask()
    _say_counts(predictions.dropped, predictions.notes)
    written(out, format, left_out=dict(predictions.dropped), changed=dict(predictions.notes))


def variants(ask: Ask, *, out: Any, format: Format = "table") -> int:
    effects = ask()
    _say_counts(effects.dropped, effects.notes)
    counts = {"left_out": dict(effects.dropped), "changed": dict(effects.notes)}
    written(out, format, variants=len(effects.variants), **counts)
    if not len(effects.variants):
        say(f"no variant could be scored; {out} gives the reason for each")
        return 1
    return 0


def attribute(ask: Ask, *, out: Any, format: Format = "table") -> None:
    attributions = ask()
    if attributions.shared:
        say(f"{attributions.shared:,} bases lie in several regions: the mean is written")
    _say_counts(attributions.sequences.dropped, attributions.sequences.notes)
    counts = {"left_out": dict(attributions.sequences.dropped), "changed": dict(attributions.sequences.notes)}
    written(out, format, sequences=attributions.table.height, **counts)


def _say_counts(dropped: Mapping[str, int], notes: Mapping[str, int]) -> None:
    for change, counts in (("left out", dropped), ("changed", notes)):
        for reason, number in counts.items():
            if number:
                say(f"{number:,} {change}: {reason}")


COMMANDS = (
    Command(
        interpret_run,
        interpret,
        InterpretConfig.example,
        options=InterpretConfig,
        progress="said",
    ),
    Command(
        reduce_run,
        reduce,
        "netassay reduce aitac-1a2b3c --filters 1,5,9 --store runs",
        progress="own",
    ),
    Command(
        transfer_run,
        transfer,
        TransferConfig.example,
        named=("atlas", "cell_types"),
        options=TransferConfig,
        progress="said",
    ),
    Command(
        sequences.variants,
        variants,
        "netassay variants aitac-1a2b3c --vcf gwas.vcf --genome hg38.fa --out effects.tsv",
        required=("out",),
        progress="said",
    ),
    Command(
        sequences.attribute_run,
        attribute,
        "netassay attribute aitac-1a2b3c --cell-type K562 --fasta enhancers.fa --out contributions",
        required=("out",),
        progress="said",
    ),
    Command(
        sequences.predict,
        predict,
        "netassay predict aitac-1a2b3c --fasta enhancers.fa --out predictions.csv",
        required=("out",),
        progress="said",
    ),
)
