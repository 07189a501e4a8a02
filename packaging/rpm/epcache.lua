--- Which package a mirror file belongs into: the one that has the metadata directory.
--
-- Loaded by macros.epcache-brp in rpmbuild. While rpm parses the spec, `section` is told of each %files and
-- reads what it lists; after %install, rpm asks `list` for each of them, and gets those of the mirror
-- files that brp-epcache wrote whose metadata directory is listed there. A mirror file whose place is
-- not found is removed from the build root, so that the build does not stop at a file in no package.

if epcache then
  return
end
epcache = {}

local VENDOR_ROOT = "/usr/share/epcache"
-- Lines at which a section of a spec ends.
local SECTIONS = {
  "package", "description", "prep", "generate_buildrequires", "conf", "build", "install", "check", "clean",
  "pre", "post", "preun", "postun", "pretrans", "posttrans", "preuntrans", "postuntrans", "trigger%a*",
  "filetrigger%a*", "transfiletrigger%a*", "verify", "verifyscript", "files", "changelog", "sourcelist", "patchlist",
}

-- Of each %files: its line, and the lines after it, neither expanded.
local sections = {}
-- Of each metadata directory's mirror file the number of its section; made when the first list is asked for.
local owners

local function starts_section(line)
  local word = line:match("^%%(%a[%w_]*)")
  for _, name in ipairs(SECTIONS) do
    if word and word:match("^" .. name .. "$") then
      return true
    end
  end
  return false
end

local function lines_after(path, number)
  local lines = {}
  local spec = io.open(path or "")
  if not spec then
    return lines
  end
  local at = 0
  for line in spec:lines() do
    at = at + 1
    if at > number then
      if starts_section(line) then
        break
      end
      lines[#lines + 1] = line
    end
  end
  spec:close()
  return lines
end

--- A %files of the spec, for which this gives the line that rpm is to have instead.
function epcache.section(words, spec, number)
  sections[#sections + 1] = { words = words, lines = lines_after(spec, tonumber(number) or 0) }
  -- A path to rpm, which it expands when it opens the list. It has to start with '/' before that.
  return "%files " .. words .. " -f /%%{__epcache_list:" .. #sections .. "}"
end

local function expanded(text)
  local done, result = pcall(rpm.expand, text)
  return done and result or text
end

local function kind(path)
  return posix.stat(path, "type")
end

-- Calls `visit` with each child, in order of their names.
local function children(directory, visit)
  local names = posix.dir(directory) or {}
  table.sort(names)
  for _, name in ipairs(names) do
    if name ~= "." and name ~= ".." then
      visit(directory .. "/" .. name, name)
    end
  end
end

local function files_below(directory, found)
  children(directory, function(path)
    if kind(path) == "directory" then
      files_below(path, found)
    else
      found[#found + 1] = path
    end
  end)
  return found
end

-- A shell's pattern for one path, as one of Lua's. What it doesn't know ("{a,b}") matches nothing.
local function pattern(glob)
  local text = glob:gsub("[%^%$%(%)%%%.%+%-]", "%%%0"):gsub("%*", "[^/]*"):gsub("%?", "[^/]")
  return text:gsub("%[!", "[^")
end

-- Whether a line's path names the metadata directory, something in it, or a directory above it.
local function covers(glob, metadata_dir, with_contents)
  glob = glob:gsub("/+$", "")
  if metadata_dir:match("^" .. pattern(glob) .. "$") or glob:sub(1, #metadata_dir + 1) == metadata_dir .. "/" then
    return true
  end
  local depth = select(2, metadata_dir:gsub("/", ""))
  local glob_depth = select(2, glob:gsub("/", ""))
  if glob_depth > depth then
    local head = glob:match("^" .. ("/[^/]*"):rep(depth))
    return head ~= nil and metadata_dir:match("^" .. pattern(head) .. "$") ~= nil
  end
  return with_contents and metadata_dir:match("^" .. pattern(glob) .. "/") ~= nil
end

-- Whether the lines list the metadata directory: not as %exclude or %ghost.
local function has(lines, metadata_dir)
  local found = false
  for _, line in ipairs(lines) do
    for text in (expanded(line) .. "\n"):gmatch("(.-)\n") do
      local refused = text:find("%exclude", 1, true) or text:find("%ghost", 1, true)
      local with_contents = not text:find("%dir", 1, true)
      for word in text:gmatch("%S+") do
        word = word:gsub('^"(.*)"$', "%1")
        local done, covered = pcall(covers, word, metadata_dir, with_contents)
        if word:sub(1, 1) == "/" and done and covered then
          if refused then
            return false
          end
          found = true
        end
      end
    end
  end
  return found
end

-- The lines of a section, those of its own lists too, which are there by now.
local function all_lines(section)
  local lines = { table.unpack(section.lines) }
  for list in (" " .. expanded(section.words)):gmatch("%s%-f%s*(%S+)") do
    if list:sub(1, 1) ~= "/" then
      list = expanded("%{_builddir}/%{?buildsubdir}/") .. list
    end
    local file = io.open(list)
    if file then
      for line in file:lines() do
        lines[#lines + 1] = line
      end
      file:close()
    end
  end
  return lines
end

local function owner_of(metadata_dir, lists)
  for number, lines in ipairs(lists) do
    if has(lines, metadata_dir) then
      return number
    end
  end
end

-- Whether a spec that also calls %epcache_install has a line for it.
local function is_listed(mirror_file, lists)
  return owner_of(mirror_file, lists) ~= nil
end

local function find_owners()
  owners = {}
  local root = expanded("%{buildroot}")
  local lists = {}
  for number, section in ipairs(sections) do
    lists[number] = all_lines(section)
  end
  for _, path in ipairs(files_below(root .. VENDOR_ROOT, {})) do
    local mirror_file = path:sub(#root + 1)
    local metadata_dir = mirror_file:sub(#VENDOR_ROOT + 1):gsub("%.txt$", "")
    local owner = owner_of(metadata_dir, lists)
    if is_listed(mirror_file, lists) then
      owner = nil
    elseif owner then
      owners[#owners + 1] = { mirror_file, owner }
    else
      io.stderr:write("brp-epcache: " .. metadata_dir .. " is in no package; its mirror file is left out\n")
      os.remove(path)
    end
  end
end

--- The path of a list with the mirror files of a section and the directories above them.
function epcache.list(number)
  if not owners then
    find_owners()
  end
  local path = expanded("%{_builddir}/epcache-files-") .. number
  local file = assert(io.open(path, "w"))
  -- rpm takes an empty list for a mistake. This is the last list, so it says nothing of other lines.
  file:write("%defattr(-,root,root,-)\n")
  local seen = {}
  for _, pair in ipairs(owners) do
    if pair[2] == number then
      local directory = VENDOR_ROOT
      local rest = pair[1]:sub(#VENDOR_ROOT + 2)
      while directory do
        if not seen[directory] then
          seen[directory] = true
          file:write("%dir " .. directory .. "\n")
        end
        local name, below = rest:match("^([^/]+)/(.*)$")
        directory = name and directory .. "/" .. name
        rest = below or rest
      end
      file:write(pair[1] .. "\n")
    end
  end
  file:close()
  return path
end
