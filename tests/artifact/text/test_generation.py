"""Writing on: where it stops, how chance is bounded, what is shown when, and that guessing changes no token."""

from __future__ import annotations

import numpy as np
import pytest

from compressor.artifact.text.bytelevel import CHARACTERS
from compressor.artifact.text.generation import Sampled, Spelling, Written, greedy, prompt_ids
from compressor.artifact.text.language import Generation, LanguageMetadata
from compressor.artifact.text.speculation import Draft, Lookup, ModelDraft, write
from compressor.artifact.text.tokenizer import Tokenizer
from compressor.errors import UsageError
from tests.artifact.text.readers import Table, following

END = "<|endoftext|>"
TOKENIZER = Tokenizer(kind="bytelevel", vocabulary="\n".join([*CHARACTERS, END]), special={END: 256}, end=END)


def written(
    rule_end: int | None, *, limit: int, positions: int = 40, prompt: tuple[int, ...] = (1, 2)
) -> tuple[list[int], str]:
    found = Written(Table(following, positions=positions), prompt, limit=limit, end=rule_end, pick=greedy)
    return list(found), str(found.stopped)


def test_a_text_stops_at_its_end_at_the_limit_or_where_no_more_can_be_read() -> None:
    whole, why = written(None, limit=12)
    assert (len(whole), why) == (12, "tokens")
    end = next(token for place, token in enumerate(whole) if place > 2 and token not in whole[:place])
    assert written(end, limit=12) == (whole[: whole.index(end)], "end")
    # The last token that is written need not be read.
    assert written(None, limit=12, positions=8) == (whole[:7], "positions")


def test_chance_stays_among_the_best_and_follows_their_probabilities() -> None:
    logits = np.log(np.array([0.05, 0.5, 0.15, 0.3], np.float32))
    drawn = Sampled(rng=np.random.default_rng(0), temperature=1.0)
    counts = np.bincount([drawn(logits) for _ in range(4000)], minlength=4) / 4000
    assert counts == pytest.approx([0.05, 0.5, 0.15, 0.3], abs=0.03)

    def seen(**bounds: float) -> set[int]:
        pick = Sampled(rng=np.random.default_rng(0), **{"temperature": 1.0, **bounds})  # type: ignore[arg-type]
        return {pick(logits) for _ in range(300)}

    assert seen(top_k=2) == {1, 3}
    assert seen(top_p=0.79) == {1, 3}
    assert seen(top_p=0.81) == {1, 3, 2}
    assert seen(top_p=0.01) == {1}
    assert seen(temperature=0.01) == {1}


def test_the_same_seed_writes_the_same() -> None:
    logits = np.zeros(50, np.float32)
    a, b, c = (Sampled(rng=np.random.default_rng(seed), temperature=1.0) for seed in (1, 1, 2))
    drawn = [[pick(logits) for _ in range(20)] for pick in (a, b, c)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_half_a_character_waits_for_its_rest() -> None:
    spelling = Spelling(TOKENIZER)
    text = "é😀x"
    pieces = [spelling.add(byte) for byte in text.encode()]
    assert pieces == ["", "é", "", "", "", "😀", "x"]
    ids = [*"a😀".encode()[:-1], 256, *b"b\xff", *"é".encode()[:1]]
    spelling = Spelling(TOKENIZER)
    assert "".join(map(spelling.add, ids)) + spelling.rest() == TOKENIZER.decode(ids)


def test_a_prompt_begins_with_a_token_and_fits() -> None:
    about = LanguageMetadata(task="lm", name="x", tokenizer=TOKENIZER, generation=Generation(end=256, positions=4))
    assert prompt_ids("ab", about) == [97, 98]
    assert prompt_ids("", about) == [256]
    with pytest.raises(UsageError, match="more tokens than x reads, which is 4"):
        prompt_ids("abcde", about)
    endless = about.model_copy(update={"generation": Generation(positions=4)})
    with pytest.raises(UsageError, match="the prompt is empty"):
        prompt_ids("", endless)


def alone(prompt: list[int], limit: int, end: int | None, positions: int = 40) -> list[int]:
    return write(Table(following, positions=positions), None, prompt, guesses=4, limit=limit, end=end).ids


@pytest.mark.parametrize("end", [None, *range(11)])
@pytest.mark.parametrize("guesses", [1, 2, 5])
@pytest.mark.parametrize("limit", [1, 2, 30, 100])
def test_guessing_changes_no_token(end: int | None, guesses: int, limit: int) -> None:
    """Against a plain loop, for drafts that are right always, never, and sometimes."""
    drafts: list[Draft] = [ModelDraft(Table(following)), ModelDraft(Table(lambda seen: 11)), Lookup(),
              ModelDraft(Table(lambda seen: following(seen) if len(seen) % 3 else 0, positions=20))]  # fmt: skip
    expected, _ = written(end, limit=limit, prompt=(1, 2, 3))
    assert alone([1, 2, 3], limit, end) == expected
    for draft in drafts:
        target = Table(following)
        told = write(target, draft, [1, 2, 3], guesses=guesses, limit=limit, end=end)
        assert told.ids == expected
        assert told.accepted <= told.drafted
        assert told.passes == len(target.passes)


def test_a_perfect_draft_saves_passes_and_a_useless_one_costs_none() -> None:
    target = Table(following)
    told = write(target, ModelDraft(Table(following)), [1, 2, 3], guesses=4, limit=20, end=None)
    assert (told.drafted, told.accepted, told.passes) == (16, 16, 4)
    assert target.passes == [3 + 4, 1 + 4, 1 + 4, 1 + 4]  # each reads what it said last, and the guesses
    told = write(Table(following), ModelDraft(Table(lambda seen: 11)), [1, 2, 3], guesses=4, limit=20, end=None)
    assert (told.accepted, told.passes) == (0, 20)


def test_a_draft_reads_no_token_twice_that_was_right() -> None:
    draft = Table(following)
    write(Table(following), ModelDraft(draft), [1, 2, 3], guesses=4, limit=20, end=None)
    assert draft.passes == [3, 1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1]


def test_n_grams_take_the_earliest_match_of_the_longest() -> None:
    guess = Lookup().guess
    assert guess([5, 1, 2, 3, 9, 8, 2, 3, 7, 1, 2, 3], 3, None) == [9, 8, 2]
    assert guess([4, 3, 9, 8, 2, 3], 2, None) == [9, 8]
    assert guess([4, 3, 9, 8, 2, 3], 9, 8) == [9, 8]
    assert guess([1, 2, 3], 2, None) == []
    assert guess([1], 2, None) == []
    assert guess([7, 7], 3, None) == [7]
