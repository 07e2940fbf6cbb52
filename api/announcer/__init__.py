"""The announcer: who has come in, in order, for those who call out names, and for everybody who looks on."""
