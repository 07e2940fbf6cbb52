"""How far off clocks are, in words. Pure."""

__all__ = ["span"]


def span(ms: int) -> str:
    """Return a length of time in the unit that people would use: 0.4 s, 8 min, 1 h 15 min, 30 days."""
    size = abs(ms)
    if size < 100_000:
        return f"{size / 1000:.1f} s"
    minutes = round(size / 60_000)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    days = round(minutes / (24 * 60))
    return f"{days} day{'' if days == 1 else 's'}"
