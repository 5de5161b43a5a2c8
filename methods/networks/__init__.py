"""Networks: expert trunks and heads."""
