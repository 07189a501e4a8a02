--- The part of the build policy that runs within rpmbuild: it tells brp-epcache what each %files of the spec lists.
--
-- Loaded by macros.epcache-brp. While rpm parses the spec, `section` is told of each %files, and adds a list to it, which says nothing
-- until brp-epcache fills it. That runs at the end of %install, if the spec lets it, and gets what is known of all sections on its
-- standard input:
--
--     section KEY LIST    a %files, and the list to be written for it
--     opaque KEY          a %files of which nothing is known: a macro made it
--     line TEXT           a line of the section above, expanded
--     unsure TEXT         a line that may not be there, as it stands within %if; without a text: it can be anything
--     list FILE           a list of the section's own

if epcache then
  return
end
epcache = {}

-- Lines at which a section of a spec ends.
local SECTIONS = {
  "package", "description", "prep", "generate_buildrequires", "conf", "build", "install", "check", "clean",
  "pre", "post", "preun", "postun", "pretrans", "posttrans", "preuntrans", "postuntrans", "trigger%a*",
  "filetrigger%a*", "transfiletrigger%a*", "verify", "verifyscript", "files", "changelog", "sourcelist", "patchlist",
}
-- rpm's own packages, which have no distributions: its macros make their %files.
local RPMS_OWN = { "^debuginfo$", "^debugsource$", "^%-n_.*%-debuginfo$", "^%-n_.*%-debugsource$" }
-- Keys stand in messages and in names of files. No name of a package gives this one.
local MAIN = "(main)"
-- What a list says that says nothing: rpm takes an empty one for a mistake. As each is the last of its section, it is about no other line.
local NOTHING = "%defattr(-,root,root,-)"

-- Of the spec that is being parsed: the directory of its lists, its sections by key and in order, whether brp-epcache was called.
local build
-- What %__arch_install_post is without `post`; all that `post` prints while that is asked for.
local before = ""
local asking = false
-- While `post` expands lines once more, those that name %files are no sections.
local describing = false
-- The lines of spec files, by path.
local texts = {}

local function expand(text)
  local done, result = pcall(rpm.expand, text)
  return done and result or nil
end

local function lines_of(path)
  if not texts[path] then
    texts[path] = {}
    local file = io.open(path)
    if file then
      for line in file:lines() do
        table.insert(texts[path], line)
      end
      file:close()
    end
  end
  return texts[path]
end

local function section_name(line)
  local word = line:match("^%%(%a[%w_]*)")
  for _, name in ipairs(SECTIONS) do
    if word and word:match("^" .. name .. "$") then
      return word
    end
  end
end

-- The section of the spec in which a line stands, as far as the file tells.
local function section_at(path, number)
  for at = number, 1, -1 do
    local name = section_name(lines_of(path)[at] or "")
    if name then
      return name
    end
  end
end

-- The words of a %files: what tells the package, and the lists.
local function package_and_lists(words)
  local package, lists = {}, {}
  local next_is_list = false
  for word in words:gmatch("%S+") do
    local list = next_is_list and word or word:match("^%-f=?(.+)")
    next_is_list = word == "-f" and not next_is_list
    if list then
      lists[#lists + 1] = list
    elseif not next_is_list then
      package[#package + 1] = word
    end
  end
  return table.concat(package, "_"), lists
end

-- Has `post` called at the end of %install, behind what is called there anyway.
-- %__arch_install_post is what rpm leaves empty for others, so nothing is lost if it is expanded now.
local function hook()
  asking = true
  before = expand("%{?__arch_install_post}") or ""
  asking = false
  rpm.define("__arch_install_post %{lua:print(epcache.post())}")
end

-- Whether a list is that of the %install in the build root. It counts then for what parses the spec anew: --short-circuit, -bl, rpmspec.
local function is_current(list)
  local file = io.open(list)
  if not file then
    return false
  end
  local current = file:read() == NOTHING
  for line in file:lines() do
    current = current and (line:sub(1, 1) ~= "/" or posix.access(rpm.expand("%{buildroot}") .. line, "f"))
  end
  file:close()
  return current
end

-- Has a list there, as rpm fails where one is missing, and brp-epcache may never be run; false where it can't be written.
local function begin_list(directory, list)
  return pcall(function()
    -- rpmbuild makes %{_builddir} when it has parsed the spec.
    for last in (directory .. "/"):gmatch("[^/]()/") do
      posix.mkdir(directory:sub(1, last - 1))
    end
    if not is_current(list) then
      local file = assert(io.open(list, "w"))
      assert(file:write(NOTHING, "\n"))
      assert(file:close())
    end
  end)
end

-- Forgets the sections of an earlier parsing. Those of which nothing is known stay: that is the safe side.
local function begin_anew()
  local opaque = {}
  for _, key in ipairs(build.order) do
    opaque[#opaque + 1] = build.sections[key].opaque and key or nil
  end
  local sections = build.sections
  build = { directory = build.directory, sections = {}, order = opaque }
  for _, key in ipairs(opaque) do
    build.sections[key] = sections[key]
  end
end

local function register(key, section)
  local known = build.sections[key]
  if known and (known.opaque or section.opaque or known.path ~= section.path or known.number ~= section.number) then
    -- What macros make is told more than once. And of a second %files of a package, rpm takes the lines, and the lists of both.
    known.opaque = true
    return false
  elseif known then
    -- As for another architecture.
    begin_anew()
  end
  build.sections[key] = section
  table.insert(build.order, key)
  return true
end

--- A %files of the spec, for which this gives the line that rpm is to have instead.
function epcache.section(words, path, number)
  local line = lines_of(path)[number] or ""
  local rest = line:match("^.-%%files(.*)$")
  local unchanged = words == "" and "%files" or "%files " .. words
  if describing then
    return unchanged
  end
  -- To the letter, where it can be had: the word can also stand in a text.
  if words ~= "" and rest and rest:match("^[ \t]") and not rest:find("%files", 1, true) then
    unchanged = "%files" .. (expand(rest) or " " .. words)
  end
  local is_text = line:match("^%s*#") or (rest and section_at(path, number) == "changelog")
  if is_text or not expand("%{?__brp_epcache}"):find("%S") or words:find("-epcache-files/", 1, true) then
    return unchanged
  end
  local directory = expand("%{_builddir}/%{NAME}-%{VERSION}-%{RELEASE}.%{_arch}-epcache-files") or ""
  local package, lists = package_and_lists(words)
  local key = package == "" and MAIN or package:gsub("[^%w._+-]", "_")
  for _, name in ipairs(RPMS_OWN) do
    if key:match(name) then
      return unchanged
    end
  end
  if not build or build.directory ~= directory then
    build = { directory = directory, sections = {}, order = {} }
  end
  local opaque = not line:match("^%%files%f[^%w_]")
  local section = { path = path, number = number, lists = lists, opaque = opaque, list = directory .. "/" .. key }
  if not register(key, section) or opaque or build.closed then
    return unchanged
  end
  -- A path that takes no quotes, and is the same however often it is expanded.
  if not directory:match("^/[%w/._+~^-]*$") or not begin_list(directory, section.list) then
    section.opaque = true
    return unchanged
  end
  hook()
  section.written = true
  return "%files " .. words .. " -f " .. section.list
end

-- Whether the line goes on after a text, by rpm's rule: an open "%{", "%(" or "%[", or a backslash at its end.
local function goes_on(text)
  local depth, at = 0, 1
  while at <= #text do
    local two, one = text:sub(at, at + 1), text:sub(at, at)
    if two == "%%" then
      at = at + 1
    elseif two:match("^%%[{(%[]$") then
      depth = depth + 1
      at = at + 1
    elseif depth > 0 and one:match("[{(%[]") then
      depth = depth + 1
    elseif depth > 0 and one:match("[})%]]") then
      depth = depth - 1
    end
    at = at + 1
  end
  return depth > 0 or text:match("\\$") ~= nil
end

-- Hands each line of a section to `visit`: its text, not expanded, or nothing if that is not to be told; and whether it
-- is surely there.
local function visit_lines(section, visit)
  -- How many %if are open, and whether another section began within one: rpm may have left it out.
  local depth, crossed = 0, false
  local begun
  local lines = lines_of(section.path)
  for number = section.number + 1, #lines do
    local line = begun and begun .. "\n" .. lines[number] or lines[number]
    local word = line:match("^%s*%%(%a+)")
    begun = goes_on(line) and line or nil
    if begun then
      -- The rest of it comes.
    elseif section_name(line) then
      if depth == 0 then
        return
      end
      crossed = true
    elseif word == "if" or word == "ifarch" or word == "ifnarch" or word == "ifos" or word == "ifnos" then
      depth = depth + 1
    elseif word == "endif" then
      depth = math.max(depth - 1, 0)
    elseif word == "else" or (word and word:match("^elif")) then
      -- Of an %if before the section, if none is open: what comes now is not there, as the section is.
      depth = math.max(depth, 1)
    elseif word ~= "global" and word ~= "define" and word ~= "undefine" then
      visit(line, depth == 0 and not crossed and line == lines[number])
    end
  end
  if begun then
    visit(nil, false)
  end
end

local function describe(key, said)
  local section = build.sections[key]
  if section.opaque then
    said[#said + 1] = "opaque " .. key
  end
  if section.written then
    said[#said + 1] = "section " .. key .. " " .. section.list
  end
  if section.opaque then
    return
  end
  for _, list in ipairs(section.lists) do
    list = list:sub(1, 1) == "/" and list or rpm.expand("%{_builddir}/%{?buildsubdir}/") .. list
    said[#said + 1] = "list " .. list
  end
  visit_lines(section, function(text, is_sure)
    local result = text and expand(text)
    for line in ((result or "") .. "\n"):gmatch("([^\n]*)\n") do
      if not result then
        said[#said + 1] = "unsure"
      elseif line:find("%S") and not line:match("^%s*#") then
        said[#said + 1] = (is_sure and "line " or "unsure ") .. line
      end
    end
  end)
end

--- What is done at the end of %install: what would be done without this, and brp-epcache.
function epcache.post()
  if asking then
    return before
  end
  local policy = expand("%{?__brp_epcache}") or ""
  if not build or #build.order == 0 or not policy:find("%S") then
    return before
  end
  build.closed = true
  local said = {}
  describing = true
  for _, key in ipairs(build.order) do
    describe(key, said)
  end
  describing = false
  -- No line is the end mark: each starts with a word of ours.
  return before .. "\n" .. policy .. " <<'END OF SECTIONS' || :\n" .. table.concat(said, "\n") .. "\nEND OF SECTIONS\n"
end
