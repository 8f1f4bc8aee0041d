"""Perplexity in a sliding window: against counting token by token, and the interval between two models."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from compressor.artifact.session import softmax
from compressor.errors import UsageError
from compressor.evaluation.perplexity import difference, perplexity, surprise
from compressor.evaluation.torch_predictor import reader_of
from compressor.models.text.gpt2 import Gpt2, Gpt2Architecture
from compressor.runnote import LanguageFigures

VOCABULARY = 11


def remembering(ids: np.ndarray) -> np.ndarray:
    """A model that sees all of its window: a logit depends on where a token stands and on what the window began with."""
    places = np.arange(ids.shape[1])
    seed = (7 * ids[:, :1] + 3 * places + ids + np.cumsum(ids, axis=1)) % 5
    logits: np.ndarray = np.sin(seed[:, :, None] + np.arange(VOCABULARY)).astype(np.float32) * 2
    return logits


def by_hand(read: Any, tokens: Any, length: int, stride: int) -> list[float]:
    """Each token after the first from a forward of its own, in the window that is the first to reach it."""
    found = []
    for place in range(1, len(tokens)):
        number = max(0, math.ceil((place - length) / stride))
        window = np.array([tokens[number * stride : place]])
        assert window.shape[1] <= length
        assert place <= length or window.shape[1] > length - stride
        logits = read(window)[0, -1].astype(np.float64)
        found.append(-math.log(softmax(logits)[tokens[place]]))
    return found


@pytest.mark.parametrize(
    ("count", "length", "stride"),
    [(50, 16, 8), (50, 16, 16), (33, 16, 1), (40, 8, 5), (7, 16, 8), (17, 16, 3), (2, 4, 2)],
)
def test_it_is_what_counting_token_by_token_gives(count: int, length: int, stride: int) -> None:
    tokens = np.random.default_rng(count).integers(0, VOCABULARY, count)
    expected = by_hand(remembering, tokens, length, stride)
    found = perplexity(remembering, tokens, length=length, stride=stride, size=3 * count)
    assert found.tokens == len(expected) == count - 1
    assert found.nll == pytest.approx(np.mean(expected), rel=1e-6)
    assert found.perplexity == pytest.approx(math.exp(np.mean(expected)), rel=1e-6)
    assert found.bits_per_byte == pytest.approx(sum(expected) / math.log(2) / (3 * count), rel=1e-6)


def test_bits_per_byte_by_hand() -> None:
    """Four tokens that are all equally likely, of two bytes each: 2 bits for 2 bytes."""
    found = perplexity(lambda ids: np.zeros((*ids.shape, 4), np.float32), [0, 1, 2, 3, 0], length=8, size=8)
    assert found.perplexity == pytest.approx(4)
    assert found.bits_per_byte == pytest.approx(1)
    assert (found.stride, found.bytes, found.tokens) == (4, 8, 4)


def test_a_module_is_read_window_by_window_and_without_tokens_that_are_none() -> None:
    torch.manual_seed(0)
    about = Gpt2Architecture(
        name="tiny", classes=13, layers=2, hidden=16, heads=2, intermediate=32, positions=16, dropout=0.5
    )
    model = Gpt2(about).train()
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, 45)
    read = reader_of(model, VOCABULARY)
    found = perplexity(read, tokens, length=16, stride=4)
    assert found.nll == pytest.approx(np.mean(by_hand(read, tokens, 16, 4)), rel=1e-5)
    with torch.no_grad():
        logits = model(torch.from_numpy(tokens[None, :16]))[0, :, :VOCABULARY]
    whole = torch.nn.functional.cross_entropy(logits, torch.from_numpy(tokens[1:17]), reduction="none")
    np.testing.assert_allclose(surprise(logits.numpy(), tokens[1:17]), whole.numpy(), rtol=1e-5)


def test_blocks_are_consecutive_stretches_and_their_mean_is_the_whole() -> None:
    tokens = np.random.default_rng(1).integers(0, VOCABULARY, 641)
    found = perplexity(remembering, tokens, length=32, stride=16)
    each = np.array(by_hand(remembering, tokens, 32, 16)).reshape(20, 32)
    np.testing.assert_allclose(found.blocks, each.mean(axis=1), rtol=1e-6)
    assert len(perplexity(remembering, np.tile(tokens, 10), length=32, stride=32).blocks) == 64


@pytest.mark.parametrize(
    ("tokens", "settings", "message"),
    [
        ([1], {"length": 8}, "a text of 1 tokens has none to foretell"),
        ([], {"length": 8}, "a text of 0 tokens"),
        ([1, 2], {"length": 8, "stride": 9}, "a stride of 9 in a window of 8 tokens: give 1 to 8"),
        ([1, 2], {"length": 8, "stride": 0}, "a stride of 0"),
    ],
)
def test_what_cant_be_scored_is_one_sentence(tokens: list[int], settings: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        perplexity(remembering, tokens, **settings)


def test_what_is_no_number_is_null() -> None:
    found = perplexity(lambda ids: np.full((*ids.shape, 3), np.nan, np.float32), [0, 1, 2], length=4, size=3)
    assert (found.nll, found.perplexity, found.bits_per_byte, found.blocks) == (None, None, None, [])
    sure = np.array([3e5, 0, 0], np.float32)
    found = perplexity(lambda ids: np.broadcast_to(sure, (*ids.shape, 3)), [0, 1, 1], length=4)
    assert found.nll == pytest.approx(3e5)
    assert found.perplexity is None


def noisy(means: list[float], shared: np.ndarray, rng: np.random.Generator) -> list[LanguageFigures]:
    """Figures of one model per seed on the same 64 stretches, of which some are harder for everybody."""
    figures = []
    for mean in means:
        blocks = mean + shared + 0.02 * rng.standard_normal(len(shared))
        one = perplexity(remembering, np.arange(9) % VOCABULARY, length=4)
        figures.append(one.model_copy(update={"nll": float(blocks.mean()), "blocks": blocks.tolist()}))
    return figures


def test_models_are_compared_stretch_by_stretch() -> None:
    """What makes a stretch hard for both says nothing of their difference; what seeds differ in, a lot."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal(64)
    one = difference(noisy([3.0], shared, rng), noisy([3.1], shared, rng))
    assert one is not None
    assert -0.12 < one.low < one.mean < one.high < -0.08
    three = difference(noisy([3.0, 3.2, 2.9], shared, rng), noisy([3.1, 3.1, 3.1], shared, rng))
    assert three is not None
    assert three.low < 0 < three.high
    assert three.high - three.low > 5 * (one.high - one.low)


def test_the_interval_holds_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    for seeds in (1, 3):
        missed = 0
        for _ in range(400):
            own, other = (noisy([3.0] * seeds, rng.standard_normal(64), rng) for _ in range(2))
            found = difference(own, other)
            assert found is not None
            missed += not found.low <= 0 <= found.high
        assert missed / 400 < 0.08


def test_other_stretches_are_not_compared() -> None:
    rng = np.random.default_rng(0)
    assert difference(noisy([3.0], np.zeros(64), rng), noisy([3.0], np.zeros(63), rng)) is None
    assert difference(noisy([3.0], np.zeros(1), rng), noisy([3.0], np.zeros(1), rng)) is None
