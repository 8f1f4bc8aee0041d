"""What a draft was worth, for a person."""

from __future__ import annotations

from compressor.benchmarking import compare
from compressor.benchmarking.drafts import Difference, Drafting, Speculation
from compressor.reporting.screen import Block, Table

SHOWN = 10
"""Differences that are listed."""

COLUMNS = ("", "accepted/drafted", "tokens per pass", "tokens/s", "time per token ÷ alone", "verdict")


def speculation(found: Speculation) -> list[Block]:
    """What `compress speculate` measured."""
    rows: list[tuple[str, ...]] = [("target alone", "–", "1.00", f"{found.tokens_per_second:.1f}", "1", "–")]
    rows += [_row("with the draft", found.draft), _row("with n-grams", found.n_gram)]
    blocks: list[Block] = [Table(COLUMNS, rows), "", _identity(found), _worth(found)]
    blocks += [_difference(difference) for difference in found.differences[:SHOWN]]
    if len(found.differences) > SHOWN:
        blocks.append(f"… and {len(found.differences) - SHOWN} more, which --json lists.")
    return blocks


def _row(name: str, way: Drafting) -> tuple[str, ...]:
    share = "–" if way.acceptance is None else f" ({way.acceptance:.0%})"
    interval = compare.shown(way.low, way.high)
    return (
        name, f"{way.accepted}/{way.drafted}{share}" if way.drafted else "0/0", f"{way.tokens_per_pass:.2f}",
        f"{way.tokens_per_second:.1f}", f"{way.ratio:.2f} ({interval})", way.verdict,
    )  # fmt: skip


def _identity(found: Speculation) -> str:
    faults = sum(not difference.tie for difference in found.differences)
    said = (
        f"The text with the draft is the target's own, token by token, in {found.identical} of {found.prompts} prompts."
    )
    if faults:
        return f"FAULT: {faults} of the texts are not the target's own, by more than float noise. {said}"
    if found.differences:
        return f"{said} Where it is not, two logits tie to float noise between passes over one token and over several."
    return said


def _worth(found: Speculation) -> str:
    """The verdict on the draft, in words."""
    own, control = found.draft, found.n_gram
    said = {
        "faster": f"The draft makes its target faster here: {1 / own.ratio:.2f} times.",
        "slower": f"The draft makes its target slower here: {own.ratio:.2f} times the time per token.",
        "same": "The draft makes its target neither faster nor slower here.",
        "undecided": "Whether the draft makes its target faster is undecided: give more prompts.",
    }[own.verdict]
    if control.verdict == "faster" and control.ratio < own.ratio:
        said += " Guesses from n-grams, without any model, are worth more on these prompts."
    return said


def _difference(found: Difference) -> str:
    gap = (
        "the text ends in one of them"
        if found.gap is None
        else f"the target's logits of the two are {found.gap:.2g} apart"
    )
    kind = "a tie" if found.tie else "a fault"
    return (
        f"{found.prompt}: token {found.token} is {_token(found.alone)} alone and {_token(found.drafted)} with the "
        f"{found.by}; {gap}: {kind}."
    )


def _token(number: int | None) -> str:
    return "the end" if number is None else str(number)
