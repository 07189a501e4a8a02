"""The lines of the rivals' source that docs/benchmarks.md names, and what stands there."""

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

# Distribution, version, module file, line, and what stands there.
SOURCES = [
    ("stevedore", "5.10.0", "stevedore/_cache.py", 69, "struct.Struct('f').pack(f)"),
    ("stevedore", "5.10.0", "stevedore/_cache.py", 83, "h.update(sys.executable"),
    ("stevedore", "5.10.0", "stevedore/_cache.py", 87, "mtime = _get_mtime(entry)"),
    ("stevedore", "5.10.0", "stevedore/_cache.py", 93, "'*.dist-info', 'entry_points.txt'"),
    ("stevedore", "5.10.0", "stevedore/_cache.py", 155, "os.replace(f.name, filename)"),
    ("stevedore", "5.10.0", "stevedore/_cache.py", 178, "sys.executable[0:4] == '/tmp'"),
    ("stevedore", "5.10.0", "stevedore/_cache.py", 193, "with open(filename) as f"),
    ("stevedore", "5.10.0", "stevedore/_cache.py", 195, "except (OSError, json.JSONDecodeError)"),
    ("stevedore", "5.10.0", "stevedore/_cache.py", 203, "except OSError"),
    ("stevedore", "5.10.0", "stevedore/_cache.py", 217, "EntryPoint(*vals)"),
    ("entrypoints", "0.4.2", "entrypoints.py", 191, "'*.dist-info', 'entry_points.txt'"),
    ("entrypoints", "0.4.2", "entrypoints.py", 198, "distro.name in distro_names_seen"),
    ("entrypoints", "0.4.2", "entrypoints.py", 203, "cp.read([path])"),
    ("entrypoints", "0.4.2", "entrypoints.py", 239, "config[group].items()"),
    ("setuptools", "66.1.1", "pkg_resources/__init__.py", 746, "dist.key in self.by_key"),
    ("setuptools", "66.1.1", "pkg_resources/__init__.py", 2090, "sorted(entries)"),
    ("setuptools", "66.1.1", "pkg_resources/__init__.py", 2862, "EntryPoint.parse_map"),
    ("setuptools", "66.1.1", "pkg_resources/__init__.py", 3261, "WorkingSet._build_master()"),
    ("importlib_metadata", "10.2.0", "importlib_metadata/__init__.py", 946, "os.stat(self.root)"),
    ("importlib_metadata", "10.2.0", "importlib_metadata/__init__.py", 1247, "dist.entry_points"),
    ("importlib_metadata", "10.2.0", "importlib_metadata/__init__.py", 1248, "_prefer_valid"),
    ("entry-point-inspector", "0.2.3", "entry_point_inspector/group.py", 15, "distributions()"),
    ("entry-point-inspector", "0.2.3", "entry_point_inspector/group.py", 39, "entry_points(group"),
    ("entry-point-inspector", "0.2.3", "entry_point_inspector/group.py", 42, "ep.load()"),
    ("entry-point-inspector", "0.2.3", "entry_point_inspector/group.py", 58, "ep.dist.metadata"),
    ("entry-point-inspector", "0.2.3", "entry_point_inspector/app.py", 17, '"epi.commands"'),
]


def check_sources() -> Iterator[str]:
    """The lines of source that docs/benchmarks.md names, and whether they say what it says."""
    for name, version, file, line, text in SOURCES:
        found = metadata.distribution(name)
        lines = Path(str(found.locate_file(file))).read_text().splitlines()
        said = found.version == version and text in lines[line - 1]
        mark = "" if said else f"  NOT SO ({found.version}: {lines[line - 1].strip()!r})"
        yield f"{name} {version}, {file}:{line}: {text}{mark}"
