-- `pl.stringx`: the commonly used part of Penlight's string functions. Lists are plain tables. Errors name the caller's line.
local find, sub, gsub, rep = string.find, string.sub, string.gsub, string.rep
local stringx = {}

local function check(value, position)
  if type(value) == "number" then return tostring(value) end
  if type(value) ~= "string" then error("argument " .. position .. " expected a 'string' got a '" .. type(value) .. "'", 3) end
  return value
end

for name, pattern in pairs({ isalpha = "^%a+$", isdigit = "^%d+$", isalnum = "^%w+$", isspace = "^%s+$", islower = "^[%l%s]+$", isupper = "^[%u%s]+$" }) do
  stringx[name] = function(text) return find(check(text, 1), pattern) == 1 end
end

function stringx.join(separator, list) return table.concat(list, check(separator, 1)) end

-- `affix` may be a list: any of them.
local function any(text, affix, test)
  for _, one in ipairs(type(affix) == "table" and affix or { affix }) do
    if test(text, one) then return true end
  end
  return false
end
function stringx.startswith(text, prefix)
  return any(check(text, 1), prefix, function(whole, one) return sub(whole, 1, #one) == one end)
end
function stringx.endswith(text, suffix)
  return any(check(text, 1), suffix, function(whole, one) return #whole >= #one and sub(whole, #whole - #one + 1) == one end)
end

local function split(text, separator, limit)
  local parts, at = {}, 1
  if text == "" then return separator and { "" } or {} end
  if not separator then
    text = gsub(text, "^%s+", "")
    while at <= #text do
      local start, stop = find(text, "%s+", at)
      if not start or (limit and #parts + 1 >= limit) then
        parts[#parts + 1] = sub(text, at)
        return parts
      end
      parts[#parts + 1] = sub(text, at, start - 1)
      at = stop + 1
    end
    return parts
  end
  while not (limit and #parts + 1 >= limit) do
    local start, stop = find(text, separator, at, true)
    if not start then break end
    parts[#parts + 1] = sub(text, at, start - 1)
    at = stop + 1
  end
  parts[#parts + 1] = sub(text, at)
  return parts
end

-- At spaces, or at `separator`; at most `limit` parts. An empty separator is no separator.
function stringx.split(text, separator, limit)
  if separator == "" then error("argument 2 expected a non-empty string", 2) end
  return split(check(text, 1), separator, limit)
end
function stringx.splitv(text, separator, limit) return unpack(split(check(text, 1), separator, limit)) end

-- Without the line breaks, or with them.
function stringx.splitlines(text, keep)
  local lines, at = {}, 1
  check(text, 1)
  while at <= #text do
    local start, stop = find(text, "\r?\n", at)
    if not start then start, stop = find(text, "\r", at) end
    lines[#lines + 1] = sub(text, at, start and (keep and stop or start - 1) or #text)
    at = (stop or #text) + 1
  end
  return lines
end
function stringx.lines(text)
  return string.gmatch(find(check(text, 1), "\n$") and text or text .. "\n", "([^\n]*)\n")
end

function stringx.expandtabs(text, width)
  width = width or 8
  return (gsub(check(text, 1), "([^\t\r\n]*)\t", function(before) return before .. rep(" ", width - #before % width) end))
end

function stringx.lfind(text, wanted, first, last)
  local start, stop = find(check(text, 1), check(wanted, 2), first, true)
  if start and (not last or stop <= last) then return start end
  return nil
end
function stringx.rfind(text, wanted, first, last)
  check(text, 1)
  check(wanted, 2)
  for start = (last or #text) - #wanted + 1, first or 1, -1 do
    if sub(text, start, start + #wanted - 1) == wanted then return start end
  end
  return nil
end

function stringx.replace(text, old, new, limit)
  local parts, at, count = {}, 1, 0
  check(text, 1)
  if check(old, 2) == "" then return text end
  while not limit or count < limit do
    local start, stop = find(text, old, at, true)
    if not start then break end
    parts[#parts + 1] = sub(text, at, start - 1)
    parts[#parts + 1] = new
    at, count = stop + 1, count + 1
  end
  parts[#parts + 1] = sub(text, at)
  return table.concat(parts)
end

function stringx.count(text, wanted, overlapping)
  local count, at = 0, 1
  if check(wanted, 2) == "" then return #check(text, 1) + 1 end
  while true do
    local start, stop = find(check(text, 1), wanted, at, true)
    if not start then return count end
    count, at = count + 1, (overlapping and start or stop) + 1
  end
end

function stringx.ljust(text, width, char) return check(text, 1) .. rep(char or " ", width - #text) end
function stringx.rjust(text, width, char) return rep(char or " ", width - #check(text, 1)) .. text end
function stringx.center(text, width, char)
  local left = math.floor((width - #check(text, 1)) / 2)
  if left < 0 then return text end
  return rep(char or " ", left) .. text .. rep(char or " ", width - #text - left)
end

-- `chars`: what to take away, as a set of characters; else white space.
local function strip(text, left, right, chars)
  local set = chars and "[" .. gsub(chars, "[%]%^%-%%]", "%%%0") .. "]" or "%s"
  if left then text = gsub(text, "^" .. set .. "+", "") end
  if right then
    local stop = #text
    while stop > 0 and find(sub(text, stop, stop), set) do stop = stop - 1 end
    text = sub(text, 1, stop)
  end
  return text
end
function stringx.lstrip(text, chars) return strip(check(text, 1), true, false, chars) end
function stringx.rstrip(text, chars) return strip(check(text, 1), false, true, chars) end
function stringx.strip(text, chars) return strip(check(text, 1), true, true, chars) end

function stringx.partition(text, mark)
  local start, stop = find(check(text, 1), check(mark, 2), 1, true)
  if not start then return text, "", "" end
  return sub(text, 1, start - 1), mark, sub(text, stop + 1)
end
function stringx.rpartition(text, mark)
  local start = stringx.rfind(text, mark)
  if not start then return "", "", text end
  return sub(text, 1, start - 1), mark, sub(text, start + #mark)
end

function stringx.at(text, index) return sub(check(text, 1), index, index) end
function stringx.indent(text, width, char)
  return (gsub(check(text, 1), "([^\n]*\n?)", function(line) return line == "" and "" or rep(char or " ", width) .. line end))
end
function stringx.title(text)
  return (gsub(check(text, 1), "(%S)(%S*)", function(first, rest) return string.upper(first) .. string.lower(rest) end))
end
stringx.capitalize = stringx.title
function stringx.shorten(text, width, at_tail)
  if #check(text, 1) <= width then return text end
  if width < 3 then return rep(".", width) end
  if at_tail then return "..." .. sub(text, #text - width + 4) end
  return sub(text, 1, width - 3) .. "..."
end
function stringx.quote_string(text) return (gsub(string.format("%q", check(text, 1)), "\\\n", "\\n")) end

return stringx
