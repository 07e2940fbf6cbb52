"""All SQL of certificates: which reads are asked for, digests of them, and what else is known of them."""
