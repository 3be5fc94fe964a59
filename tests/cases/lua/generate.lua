-- Writes LuaJIT's results beside the snippets. From the top of the repository:
--
--     TZ=UTC LC_ALL=C luajit -joff tests/cases/lua/generate.lua tests/cases/lua/{luajit,plain}/*.txt
--
-- A file is a list of entries. An entry is the body of a function (`> `) or a whole chunk that does not compile (`>> `); lines that begin with `| `
-- go on with it. Its result is the one line after it: `= ` and the values, `! ` and the error's value, `? ` and the compiler's words; `$` stands for
-- `[string "event_hooks:<the hook's id>"]`. `#` begins a comment. To add a snippet, write it without a result and run this.
local show = dofile((arg[0]:gsub("[^/]*$", "")) .. "show.lua")

-- The name that a lambda hook's functions have; 36 characters stand for the hook's id.
local NAME = "event_hooks:00000000-0000-0000-0000-000000000000"

local function result(mark, text)
  if mark == ">" then
    text = "local function body(...) " .. text .. "\nend\nreturn body"
  end
  local chunk, words = loadstring(text, NAME)
  if not chunk then
    return "? " .. show.text(words)
  end
  assert(mark == ">", "it compiles, so it is no entry for >>: " .. text)
  return show.result(pcall(chunk()))
end

for _, path in ipairs(arg) do
  local out, lines, mark = {}, nil, nil
  local function finish()
    if lines then
      out[#out + 1] = result(mark, table.concat(lines, "\n"))
    end
    lines = nil
  end
  for line in io.lines(path) do
    local new, text = line:match("^(>>?) (.*)$")
    local more = line:match("^| ?(.*)$")
    if more then
      lines[#lines + 1] = more
    else
      finish()
    end
    if new then
      lines, mark = { text }, new
    end
    if not line:match("^[=!?]") then
      assert(new or more or line == "" or line:sub(1, 1) == "#", path .. ": neither entry, result nor comment: " .. line)
      out[#out + 1] = line
    end
  end
  finish()
  local file = assert(io.open(path, "w"))
  file:write(table.concat(out, "\n"), "\n")
  file:close()
end
