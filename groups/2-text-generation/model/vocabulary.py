"""The tokenizer of random weights: byte-level BPE, trained on the prompts, of the real size."""

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TRAINED = 6144  # pieces that prompts are cut into; the others can only be generated
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def invented() -> Iterator[str]:
    """Pronounceable words with a space before them (Ġ, as byte-level vocabularies write it)."""
    syllables = [c + v for c in "bcdfghjklmnprstvwz" for v in "aeiou"]
    for parts in itertools.product(syllables, repeat=3):
        yield "Ġ" + "".join(parts)


def train(texts: Sequence[str], first: Sequence[str], last: Sequence[str], size: int) -> Tokenizer:
    """A tokenizer of exactly `size` ids: `first` special tokens, all bytes, what training found,
    invented words, `last` special tokens. No beginning-of-text token is ever added."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=TRAINED, initial_alphabet=alphabet, min_frequency=2, show_progress=False
    )
    learner.train_from_iterator(texts, trainer)
    learned = json.loads(learner.to_str())["model"]
    known = sorted(learned["vocab"], key=learned["vocab"].__getitem__)
    room = size - len(first) - len(known) - len(last)
    filling = itertools.islice((word for word in invented() if word not in learned["vocab"]), room)
    pieces = [*first, *known, *filling, *last]
    assert len(pieces) == len(set(pieces)) == size
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    merges = [tuple(pair) for pair in learned["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*first, *last])
    return tokenizer


def never_generated(tokenizer: Tokenizer, special: Sequence[str]) -> list[int]:
    """Ids whose text is not printable ASCII by itself: special tokens, control and high bytes."""
    silent: list[int] = []
    for number in range(tokenizer.get_vocab_size()):
        text = tokenizer.decode([number], skip_special_tokens=False)
        if tokenizer.id_to_token(number) in special or not (text.isascii() and text.isprintable()):
            silent.append(number)
    return silent


def configuration(end: str, context: int) -> dict[str, object]:
    """tokenizer_config.json: a plain fast tokenizer with the one chat template of all stacks."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "eos_token": end,
        "pad_token": end,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }


def texts_of(payloads: Sequence[dict[str, object]]) -> list[str]:
    """What the prompts say, without JSON around it."""
    texts: list[str] = []
    for payload in payloads:
        if "prompt" in payload:
            texts.append(str(payload["prompt"]))
        for message in payload.get("messages", []):  # pyright: ignore
            texts.append(f"{message['role']}: {message['content']}\n")
    return texts


def save(tokenizer: Tokenizer, folder: Path, end: str, context: int) -> None:
    """tokenizer.json, tokenizer_config.json, chat_template.jinja."""
    tokenizer.save(str(folder / "tokenizer.json"))
    text = json.dumps(configuration(end, context), indent=1) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
