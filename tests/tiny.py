"""Tiny randomly initialised models with a matching tokenizer, one for each architecture that is supported.

`make_tiny(arch, path)` leaves a folder that `AutoTokenizer` and the `AutoModel` classes load like a
published one. Weights are seeded, so two folders made with one seed hold the same numbers. The tokenizers
keep the habits that matter to a loader: their special tokens, how a pair is framed, and that GPT-2 has no
padding token at all.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)

ENCODERS = ("bert", "roberta", "deberta-v2", "modernbert", "distilbert")
DECODERS = ("gpt2", "qwen2", "llama")
ARCHITECTURES = ENCODERS + DECODERS

HIDDEN, LAYERS, HEADS, INTERMEDIATE, POSITIONS = 32, 2, 4, 64, 128

_TEXT = """
a an the some many few most all no none two three five box crate bag shelf room garden river market
street man woman child dog cat bird boat train runner player crowd friend doctor singer is are was
were has had near far inside outside above below before after during early late morning noon evening
night hot warm cold big small tall short heavy light full empty old young fast slow happy sad sits
stands runs walks sleeps eats plays reads buys sells carries holds sees hears red blue green apple
apples bread water book ball stone very quite rather almost not about more less than and or but if
then because with without to of in on at by answer question premise hypothesis label yes maybe
entailment neutral contradiction true false
"""
WORDS = _TEXT.split()


def make_tiny(arch: str, path: Path, *, seed: int = 0) -> Path:
    """Save a tiny model of `arch` (one of `ARCHITECTURES`) with its tokenizer into `path`; return `path`."""
    tokenizer = make_tokenizer(arch)
    auto = AutoModelForCausalLM if arch in DECODERS else AutoModelForMaskedLM
    # The caller's random stream is left as it was: a fixture must not shift the numbers a test draws.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = auto.from_config(_config(arch, tokenizer))
    # The published initialisation (0.02) makes random models so flat that no test could tell two rows apart.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                parameter.mul_(5.0)
    path.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def make_tokenizer(arch: str) -> PreTrainedTokenizerFast:
    """A fast tokenizer in the manner of `arch`, over `WORDS` with a fall-back to characters or bytes."""
    if arch in ("bert", "distilbert"):
        return _wordpiece()
    if arch == "deberta-v2":
        return _unigram()
    if arch in _BYTE_LEVEL:
        return _byte_level(arch)
    raise ValueError(f"no tiny model for {arch!r}; known: {', '.join(ARCHITECTURES)}")


def _config(arch: str, tokenizer: PreTrainedTokenizerFast) -> PretrainedConfig:
    size: dict[str, Any] = {"vocab_size": len(tokenizer)}
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        size[name] = getattr(tokenizer, name)
    if arch == "gpt2":
        return AutoConfig.for_model(
            "gpt2", n_embd=HIDDEN, n_layer=LAYERS, n_head=HEADS, n_positions=POSITIONS, **size
        )
    if arch == "distilbert":
        return AutoConfig.for_model(
            "distilbert",
            dim=HIDDEN,
            n_layers=LAYERS,
            n_heads=HEADS,
            hidden_dim=INTERMEDIATE,
            max_position_embeddings=POSITIONS,
            **size,
        )
    size |= {
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INTERMEDIATE,
        "max_position_embeddings": POSITIONS,
    }
    if arch in ("qwen2", "llama"):
        # Fewer key-value heads than heads, as in the published models.
        size["num_key_value_heads"] = 2
    if arch == "roberta":
        # RoBERTa counts positions from the padding id + 1; its published configuration has room for that.
        size |= {"max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1}
    if arch == "deberta-v2":
        # What makes the published v3 checkpoints different: relative attention, shared keys, no token types.
        size |= {
            "relative_attention": True,
            "position_buckets": 16,
            "pos_att_type": ["p2c", "c2p"],
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
            "max_relative_positions": -1,
            "type_vocab_size": 0,
        }
    if arch == "modernbert":
        size |= {
            "cls_token_id": tokenizer.cls_token_id,
            "sep_token_id": tokenizer.sep_token_id,
            "local_attention": 16,
            "reference_compile": False,
        }
    return AutoConfig.for_model(arch, **size)


def _characters() -> list[str]:
    return list("abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'\"-()")


def _wordpiece() -> PreTrainedTokenizerFast:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    single = _characters()
    pieces = dict.fromkeys([*special, *WORDS, *single, *(f"##{c}" for c in single), "##s", "##ed", "##ing"])
    vocab = {piece: i for i, piece in enumerate(pieces)}
    core = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
    )
    return _wrap(core, bert=True, model_input_names=["input_ids", "token_type_ids", "attention_mask"])


def _unigram() -> PreTrainedTokenizerFast:
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    # Whole words are much likelier than their characters, so that segmentation is by words where it can be.
    scores = dict.fromkeys(special, 0.0)
    scores |= {f"▁{word}": -4.0 for word in WORDS} | {"▁": -8.0} | dict.fromkeys(_characters(), -10.0)
    core = Tokenizer(models.Unigram(list(scores.items()), unk_id=special.index("[UNK]")))
    core.normalizer = normalizers.Lowercase()
    core.pre_tokenizer = pre_tokenizers.Metaspace()
    core.decoder = decoders.Metaspace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    core.add_special_tokens(["[MASK]"])
    return _wrap(core, bert=True, model_input_names=["input_ids", "token_type_ids", "attention_mask"])


# arch -> (special tokens in id order, names of those that the tokenizer declares)
_BYTE_LEVEL: dict[str, tuple[list[str], dict[str, str]]] = {
    "roberta": (
        ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        {
            "bos_token": "<s>",
            "eos_token": "</s>",
            "cls_token": "<s>",
            "sep_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "mask_token": "<mask>",
        },
    ),
    "modernbert": (
        ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"],
        {
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "pad_token": "[PAD]",
            "mask_token": "[MASK]",
        },
    ),
    "gpt2": (
        ["<|endoftext|>"],
        {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"},
    ),
    "qwen2": (
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        {"eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"},
    ),
    "llama": (
        ["<unk>", "<s>", "</s>", "<pad>"],
        {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
    ),
}

# How a text and a pair are framed; GPT-2 and Qwen2 add nothing, and a pair is simply run together.
_FRAMES = {
    "roberta": ("<s> $A </s>", "<s> $A </s> </s> $B </s>"),
    "modernbert": ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]"),
    "llama": ("<s> $A", "<s> $A $B"),
}


def _byte_level(arch: str) -> PreTrainedTokenizerFast:
    special, names = _BYTE_LEVEL[arch]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    # Each word alone and after a space, twice over, so that both forms are merged whole.
    core.train_from_iterator([f"{word} {word}" for word in WORDS] * 2, trainer)
    if arch in _FRAMES:
        single, pair = _FRAMES[arch]
        framing = [(token, core.token_to_id(token)) for token in special if token in pair.split()]
        core.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=framing)
    return _wrap(core, **names)


def _wrap(core: Tokenizer, *, bert: bool = False, **kwargs: Any) -> PreTrainedTokenizerFast:
    if bert:
        for name in ("pad", "unk", "cls", "sep", "mask"):
            kwargs[f"{name}_token"] = f"[{name.upper()}]"
    kwargs.setdefault("model_input_names", ["input_ids", "attention_mask"])
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=POSITIONS, **kwargs)
