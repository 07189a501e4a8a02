"""`epi` (entry-point-inspector), the command that shows entry points. It has no cache of its own,
and its framework finds its subcommands through stevedore's.

Who asks for a group gets its members imported, too: it shows what can't be. There is no command for
all groups, so they are listed and then shown one by one, in one process.
"""

import os

ORDERED = ("find",)


def find(job):
    os.environ["XDG_CACHE_HOME"] = job.cache
    if job.group is not None:
        return members(job.group)
    groups = [row["Name"] for row in epi("group", "list")]
    return [point for group in groups for point in members(group)]


def members(group):
    """What it shows of a group, with the values put together that it took apart at a dot."""
    found = []
    for row in epi("group", "show", group):
        value = f"{row['Module']}.{row['Member']}" if row["Member"] else row["Module"]
        found.append((group, row["Name"], value))
    return found


def epi(*arguments):
    """What it prints, as JSON."""
    import contextlib
    import io
    import json

    from entry_point_inspector.app import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = main([*arguments, "-f", "json"])
    if status:
        raise SystemExit(f"epi fails with {status}")
    return json.loads(printed.getvalue())
