"""Fields that change layers: a family that does not read one refuses it where it is set."""

from __future__ import annotations

from typing import Final

# field -> what it changes. Null, false, 0 and empty change nothing.
STRUCTURAL: Final[dict[str, str]] = {
    # positions
    "alibi": "slopes added to the scores",
    "use_alibi": "slopes added to the scores",
    "no_rope_layers": "layers without rotary positions",
    "use_relative_positions": "positions relative to each other",
    # attention
    "sliding_window": "attention to the last tokens only",
    "layer_types": "attention of different kinds",
    "attention_types": "attention of different kinds",
    "global_attn_every_n_layers": "attention of different kinds",
    "kv_lora_rank": "keys and values made from a latent",
    "q_lora_rank": "queries made from a latent",
    "o_lora_rank": "an output projection of two matrices",
    "index_topk": "an index that selects the tokens attended to",
    "compress_rates": "keys and values of several tokens as one",
    "qk_norm": "norms of queries and keys",
    "use_qk_norm": "norms of queries and keys",
    "qk_layernorm": "norms of queries and keys",
    "attn_output_gate": "a gate on what attention returns",
    "clip_qkv": "limits on queries, keys and values",
    "num_kv_shared_layers": "layers that use the cache of others",
    "apply_residual_connection_post_layernorm": "residuals taken after the norm",
    "add_cross_attention": "attention to an encoder",
    "cross_attention_layers": "attention to an encoder",
    "is_encoder_decoder": "an encoder beside the decoder",
    "use_bidirectional_attention": "attention to later tokens",
    # biases
    "attention_bias": "biases of the attention's projections",
    "qkv_bias": "biases of queries, keys and values",
    "mlp_bias": "biases of the feed-forward part",
    "use_bias": "biases of projections",
    "lm_head_bias": "a bias of the head",
    # feed-forward part
    "num_experts": "experts",
    "num_local_experts": "experts",
    "n_routed_experts": "experts",
    "moe_num_experts": "experts",
    "n_shared_experts": "a shared expert",
    "num_shared_experts": "a shared expert",
    "shared_expert_intermediate_size": "a shared expert",
    "moe_intermediate_size": "experts",
    # the layer
    "parallel_attn": "attention beside the feed-forward part",
    "use_parallel_residual": "attention beside the feed-forward part",
    "parallel_residual": "attention beside the feed-forward part",
    "new_decoder_architecture": "two norms and grouped keys",
    "mup_enabled": "other scales",
    "hc_mult": "several residual streams",
    "altup_num_inputs": "several residual streams",
    "laurel_rank": "a low-rank path beside the residual",
    "hidden_size_per_layer_input": "an embedding for each layer",
    # recurrences
    "mamba_d_state": "Mamba layers",
    "mamba_d_ssm": "Mamba layers",
    "mamba_n_heads": "Mamba layers",
    "linear_num_value_heads": "gated delta nets",
    "attn_layer_period": "layers without attention",
    "attn_layer_indices": "layers without attention",
    "layers_block_type": "layers without attention",
    "ssm_cfg": "another recurrence",
    "attn_layer_idx": "layers that attend",
    "use_short_conv": "a convolution before the recurrence",
}
