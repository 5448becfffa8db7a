"""What an error tells whoever looks at it, or at what it came from."""

from __future__ import annotations

import traceback


def raised(error: BaseException) -> str:
    """Every message, also of what was being handled when it was raised, and the traceback as a log shows it."""
    return "\n".join([*_chain(error), "".join(traceback.format_exception(error))])


def _chain(error: BaseException | None) -> list[str]:
    if error is None:
        return []
    told = f"{error} {error!r} {error.args}"
    return [told, *_chain(error.__cause__), *_chain(error.__context__)]
