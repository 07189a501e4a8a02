"""The package `entrypoints` (0.4.2, in maintenance-only mode), which has no cache.

It lists `*.dist-info` before `*.egg-info`, shadows by the name as it is spelled, and only by dists
that declare something. Values are put together again from what it takes them apart into: of
`[x,y]` that makes `[x, y]`.
"""

ORDERED = ()


def find(job):
    import entrypoints

    if job.group is not None:
        found = entrypoints.get_group_all(job.group)
        return [(job.group, point.name, value_of(point)) for point in found]
    found = []
    # What get_group_all() does for one group.
    for config, _ in entrypoints.iter_files_distros():
        for group in config.sections():
            for name, text in config[group].items():
                point = entrypoints.EntryPoint.from_string(text, name)
                found.append((group, name, value_of(point)))
    return found


def value_of(point):
    """The value, as tools write it."""
    value = point.module_name
    if point.object_name:
        value += f":{point.object_name}"
    if point.extras:
        value += f" [{', '.join(point.extras)}]"
    return value
