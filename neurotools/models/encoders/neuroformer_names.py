"""Names of Neuroformer's weights in the authors' files."""

from __future__ import annotations

from neurotools.models.encoders.neuroformer import NeuroformerSettings

# (their name, ours, how the numbers change); an empty name of ours: known and left out
PARTS = (
    ("ln1", "norm_query"), ("ln2", "norm_feed"), ("ln_f", "norm_out"), (r"attn\.query", "query"),
    (r"attn\.key", "key"), (r"attn\.value", "value"), (r"attn\.proj", "out"), (r"mlp\.0", "up"),
    (r"mlp\.2", "down"),
)  # fmt: skip
STACKS = (
    (r"feature_encoder\.neural_state_blocks", "current_blocks"),
    (r"feature_encoder\.frame_state_blocks", "stimulus_self_blocks"),
    (r"neural_visual_transformer\.neural_state_history_blocks", "history_blocks"),
    (r"neural_visual_transformer\.neural_state_stimulus_blocks", "stimulus_blocks"),
    (r"neural_visual_transformer\.modalities_blocks\.\w+", "behaviour_blocks"),
    (r"neural_visual_transformer\.neural_state_blocks", "state_blocks"),
)
BARE_NAMES = (
    (r"tok_emb\.weight", "names.weight", "same"),
    (r"pos_emb", "place", "first"),
    (r"pos_emb_prev", "history_place", "first"),
    (r"temp_emb\.temp_emb\.0\.(\w+)", r"time.inward.\1", "same"),
    (r"temp_emb\.temp_emb\.2\.(\w+)", r"time.outward.\1", "same"),
    (r"temp_emb_prev\.temp_emb\.0\.(\w+)", r"history_time.inward.\1", "same"),
    (r"temp_emb_prev\.temp_emb\.2\.(\w+)", r"history_time.outward.\1", "same"),
    (r"video_encoder\.conv_block\.0\.(\w+)", r"stimulus.cut.\1", "same"),
    (r"video_encoder\.conv_block\.2\.(\w+)", r"stimulus.norm.\1", "same"),
    (r"clip\.proj\.weight", "align.weight", "same"),
    (r"head_id\.weight", "head_unit.weight", "same"),
    (r"head_dt\.weight", "head_bin.weight", "same"),
    # causal masks, tables of sinusoids, and a norm that the published network never calls
    (r"(feature_encoder|neural_visual_transformer)\.mask", "", "unused"),
    (r"frame_3d_emb\.inv_freq", "", "unused"),
    (r"modality_embeddings\.\w+\.pos_emb\.inv_freq", "", "unused"),
    (r"modality_embeddings\.\w+\.\w+\.temp_emb\.(div_term|pe)", "", "unused"),
    (r"neural_visual_transformer\.ln_f\.(\w+)", "", "unused"),
)


def author_names(settings: NeuroformerSettings) -> tuple[tuple[str, str, str], ...]:
    """Names in the authors' files for a network of these settings."""
    names = [
        (rf"{theirs}\.(\d+)\.{part}\.(\w+)", rf"{ours}.\1.{our}.\2", "same")
        for theirs, ours in STACKS
        for part, our in PARTS
    ]
    front = r"modality_embeddings\.\w+\."
    for k, name in enumerate(settings.behaviour):
        names += [
            (rf"{front}{name}\.mlp\.ln\.(\w+)", rf"behaviour.{k}.norm.\1", "same"),
            (rf"{front}{name}\.mlp\.mlp\.0\.weight", f"behaviour.{k}.inward.weight", "same"),
            (rf"{front}{name}\.mlp\.mlp\.2\.weight", f"behaviour.{k}.outward.weight", "same"),
        ]
    for k, name in enumerate(settings.predicted):
        head = rf"modality_projection_heads\.\w+\.{name}\.(\w+)"
        # what is predicted has an encoder, too, which nothing calls
        names += [
            (head, rf"head_behaviour.{k}.\1", "same"),
            (rf"{front}{name}\.mlp\..+", "", "unused"),
        ]
    return (*names, *BARE_NAMES)
