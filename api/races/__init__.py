"""Races: their people and chips, which forwarders and epochs are theirs, and whose chip a read is."""
