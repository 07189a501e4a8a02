# Run by `epcache` as `python -B -c`: tells what sys.path a command installed for this interpreter has.
# Nothing is imported before the current directory is off sys.path. Python 2 must be able to parse it.
import sys
if sys.path[:1] == [""] and not getattr(sys.flags, "safe_path", False):
    del sys.path[0]
path = list(sys.path)
version = "%d,%d" % tuple(sys.version_info[:2])
if sys.version_info < (3, 10):
    sys.stdout.write('\nepcache-answer {"version":[' + version + ']}\n')
    sys.exit()
import os, site, sysconfig
def text(value):
    return '"' + os.fsencode(value).hex() + '"'
def texts(values):
    return "[" + ",".join(text(value) for value in values if isinstance(value, str)) + "]"
sites = list(site.getsitepackages())
sites.append(site.getusersitepackages() or "")
custom = [getattr(sys.modules.get(name), "__file__", None) for name in ("sitecustomize", "usercustomize")]
sys.stdout.write('\nepcache-answer {"version":[' + version + ']'
    + ',"executable":' + text(sys.executable or "")
    + ',"prefix":' + text(sys.prefix)
    + ',"scripts":' + text(sysconfig.get_path("scripts"))
    + ',"safe_path":' + ("true" if getattr(sys.flags, "safe_path", False) else "false")
    + ',"path":' + texts(path)
    + ',"site_directories":' + texts(sites)
    + ',"standard_library":' + text(os.path.dirname(os.__file__))
    + ',"customizations":' + texts(custom) + '}\n')
sys.stdout.flush()
