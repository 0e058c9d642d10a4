"""Several workers around one ledger: who scores which block of which candidate."""
