"""int8: graph rewrites, calibration, the ladder, quantisation-aware distillation."""
