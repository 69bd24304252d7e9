"""Networks: torch modules that know tensors and nothing astronomical."""
