"""GPUs: kernels as waves of thread blocks on bare numbers; nothing here knows of operators."""
