"""Names in Kineto files, by what they mean for an import."""

from __future__ import annotations

from typing import Final

from bankwidth.operators.formats.aten_names import (
    ATTENTIONS,
    NORMS,
    ROTARY,
    SELECTIONS,
    SOFTMAXES,
    SUMS,
)

COLLECTIVE: Final = "record_param_comms"
STEP: Final = "ProfilerStep#"
# CUDA runtime and driver calls that put work on the device; HIP's are named alike.
LAUNCHES: Final = (
    "cudaLaunch", "cuLaunch", "cudaGraphLaunch", "cuGraphLaunch", "cudaMemcpy", "cuMemcpy",
    "cudaMemset", "cuMemset", "hipLaunch", "hipExtLaunch", "hipModuleLaunch", "hipGraphLaunch",
    "hipMemcpy", "hipMemset",
)  # fmt: skip
GRAPH_LAUNCHES: Final = ("cudaGraphLaunch", "cuGraphLaunch", "hipGraphLaunch")
BEGIN_CAPTURE: Final = ("cudaStreamBeginCapture", "cuStreamBeginCapture", "hipStreamBeginCapture")
END_CAPTURE: Final = ("cudaStreamEndCapture", "cuStreamEndCapture", "hipStreamEndCapture")
COPIES: Final = ("Memcpy", "Memset")  # how kernels begin that are none: gpu_memcpy, gpu_memset

# Views, allocations and questions: they move nothing themselves. Those that may have to copy
# (reshape, contiguous, to) call another operator for it, which is in the file as well.
WITHOUT_WORK: Final = frozenset(
    f"aten::{name}"
    for name in (
        "view", "reshape", "_unsafe_view", "_reshape_alias", "view_as", "reshape_as", "expand",
        "expand_as", "transpose", "transpose_", "t", "t_", "permute", "numpy_T", "mT", "select",
        "slice", "narrow", "split", "split_with_sizes", "chunk", "tensor_split", "unbind",
        "squeeze", "squeeze_", "unsqueeze", "unsqueeze_", "flatten", "unflatten", "as_strided",
        "as_strided_", "alias", "detach", "detach_", "lift_fresh", "lift_fresh_copy",
        "contiguous", "to", "type_as", "empty", "empty_like", "empty_strided", "new_empty",
        "new_empty_strided", "resize_", "resize", "set_", "result_type", "resolve_conj",
        "resolve_neg", "item", "_local_scalar_dense", "is_nonzero", "size", "numel", "dim",
        "stride", "broadcast_tensors", "movedim", "swapaxes", "swapdims", "diagonal",
        "view_as_real", "view_as_complex", "_has_compatible_shallow_copy_type", "is_pinned",
        "record_stream", "zeros", "ones", "full", "zeros_like", "ones_like", "full_like",
        "new_zeros", "new_ones", "new_full", "meshgrid", "atleast_1d", "promote_types",
        "can_cast", "is_same_size", "_nested_tensor_from_mask", "isfinite", "can_use_flash",
        "_fused_sdp_choice", "output_nr", "requires_grad_", "is_floating_point", "conj", "unfold",
        "broadcast_to", "select_backward", "real", "imag",
    )
)  # fmt: skip
# Operators that need the numbers among their inputs.
READS_VALUES: Final = frozenset({*ATTENTIONS, *NORMS, *SOFTMAXES, *SUMS, *ROTARY, *SELECTIONS})
