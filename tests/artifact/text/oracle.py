"""Small vocabularies of the `tokenizers` library, whose ids are the measure, and strings that try everything."""

from __future__ import annotations

import random
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
END = "<|endoftext|>"

PARAGRAPHS = [
    "The quick brown fox jumps over the lazy dog; it isn't what they've told us, and we'll see what he'd do.",
    "Banking: how do I top up my card? It was declined on 2024-03-05 at 17:45, £1,234.56 are pending!",
    "Größe, naïve café, Ångström, fiancée, crème brûlée; ΟΔΥΣΣΕΥΣ και Πηνελόπη. Привет, как дела? Ёлка.",
    "機械学習は楽しい。東京タワーに行きました。 今天天气很好，我们去公园。 한국어도 조금 있습니다.",
    "مرحبا بالعالم، كيف حالك؟ שלום עולם, מה שלומך? नमस्ते दुनिया, आप कैसे हैं?",
    "https://example.org/a?b=c&d=%20e#f user.name+tag@mail.example.com @someone #topic C++ x=3.14e-10 v1.2.3",
    "😀 😂 👍🏽 👩‍👩‍👧 🇩🇪 ❤️ — “quoted” ‘single’ … • ½ ² ™ © ﬁ ﬂ İstanbul ǅ ß ẞ",
]

SCRIPTS = [
    (0x20, 0x7E), (0x20, 0x7E), (0x61, 0x7A), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x590, 0x6FF),
    (0x900, 0x97F), (0xE00, 0xE7F), (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x2190, 0x23FF), (0x3000, 0x30FF),
    (0x4E00, 0x4F00), (0xAC00, 0xAD00), (0xF900, 0xFFFF), (0x1F300, 0x1FAFF), (0x0, 0x1F), (0x7F, 0x9F), (0x0, 0xD7FF),
    (0x10000, 0x1FFFF), (0xE000, 0x10FFFF),
]  # fmt: skip

BITS = [
    *SPECIAL, END, "[cls]", "[ MASK ]", "[MASK", "UNK]", " ", "  ", "\t", "\n", "\r\n", "\u3000", "\u00a0", "\u200b", "\u202e", "\ufeff",
    "\0", "\ufffd", "\x85", "\x0b", "\x1c", "\u2028", "e\u0301", "\u0301", "Ω\u0300Σ", "ΣΣ", "don't", "'S", "'ll", "x" * 99, "y" * 101,
    "é" * 100, "👩‍👩‍👧", "👍🏽", "🇩🇪", "http://a.b/c?d", "3.14", "１２３", "²", "Ⅷ", "中文", "한", "\U00011938", "\U00016ea0",
    "\ua7cb", "ß", "İ", "ﬁ", "...", "!?", "$", "``", "   end", "##ing", "Ġ",
]  # fmt: skip


def strings(count: int, seed: int = 0) -> list[str]:
    """Words of the paragraphs, characters of all scripts, and what is known to trip a tokenizer, mixed."""
    rng = random.Random(seed)
    words = " ".join(PARAGRAPHS).split()

    def bit() -> str:
        chance = rng.random()
        if chance < 0.4:
            return rng.choice(words) + rng.choice(["", " ", "  ", "\n"])
        if chance < 0.65:
            return rng.choice(BITS)
        low, high = rng.choice(SCRIPTS)
        drawn = (rng.randint(low, high) for _ in range(rng.randint(1, 8)))
        return "".join(chr(code) for code in drawn if not 0xD800 <= code < 0xE000)

    return ["".join(bit() for _ in range(rng.randint(0, 14))) for _ in range(count)]


def wordpiece(*, lowercase: bool, strip_accents: bool | None = None, chinese: bool = True) -> Tokenizer:
    """Trained on the paragraphs, framed as BERT's."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=strip_accents, handle_chinese_chars=chinese
    )
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece(cleanup=False)
    trainer = trainers.WordPieceTrainer(vocab_size=700, special_tokens=SPECIAL, show_progress=False)
    made.train_from_iterator(PARAGRAPHS, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def bytelevel(*, prefix: bool) -> Tokenizer:
    """Trained on the paragraphs, as GPT-2's."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    made.train_from_iterator(PARAGRAPHS, trainer)
    return made


def saved(made: Tokenizer, folder: Path) -> Path:
    """The folder, with a `tokenizer.json` in it."""
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    return folder
