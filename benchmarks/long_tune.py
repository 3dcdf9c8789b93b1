"""A tune of any length, for the benchmarks of the studio."""

BARS = ("GABc d2Bd", "edcB A2GA", "BAGF E2FG", "A2AB A4")


def long_abc(bars: int) -> str:
    """ABC of so many bars, a multiple of 4."""
    lines = (" | ".join(BARS) + " |" for _ in range(bars // 4))
    return "X:1\nT:A long tune\nM:4/4\nL:1/8\nK:G\n" + "\n".join(lines)
