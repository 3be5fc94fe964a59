-- A value as text, in the form of the library `inspect` 3.1: keys sorted, two spaces of indent, a table that is no list broken over lines.
local ESCAPES = { ["\a"] = "\\a", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t", ["\v"] = "\\v" }
-- Tables that are nested deeper are shown as `{...}`.
local DEPTH_MAX = 64
local ORDER = { number = 1, boolean = 2, string = 3, table = 4, ["function"] = 5, userdata = 6, thread = 7 }

local function quote(text)
  text = string.gsub(text, "\\", "\\\\")
  local mark = '"'
  if string.find(text, '"', 1, true) then
    if string.find(text, "'", 1, true) then text = string.gsub(text, '"', '\\"') else mark = "'" end
  end
  text = string.gsub(text, "(%c)(%f[0-9])", function(char) return ESCAPES[char] or string.format("\\%03d", string.byte(char)) end)
  text = string.gsub(text, "%c", function(char) return ESCAPES[char] or "\\" .. string.byte(char) end)
  return mark .. text .. mark
end

local function before(left, right)
  local one, other = type(left), type(right)
  if one == other and (one == "number" or one == "string") then return left < right end
  local first, second = ORDER[one] or 8, ORDER[other] or 8
  if first == second then return tostring(left) < tostring(right) end
  return first < second
end

-- The keys beside 1…length.
local function other_keys(value, length)
  local keys = {}
  for key in next, value do
    local in_list = type(key) == "number" and key >= 1 and key <= length and math.floor(key) == key
    if not in_list then keys[#keys + 1] = key end
  end
  table.sort(keys, before)
  return keys
end

local function list_length(value)
  local length = 0
  while rawget(value, length + 1) ~= nil do length = length + 1 end
  return length
end

local put

local function put_table(out, value, level, seen)
  if seen.ids[value] then
    out[#out + 1] = "<table " .. seen.ids[value] .. ">"
    return
  end
  if level > DEPTH_MAX then
    out[#out + 1] = "{...}"
    return
  end
  if seen.counts[value] > 1 then
    seen.last = seen.last + 1
    seen.ids[value] = seen.last
    out[#out + 1] = "<" .. seen.last .. ">"
  end
  local length = list_length(value)
  local keys = other_keys(value, length)
  out[#out + 1] = "{"
  for index = 1, length do
    out[#out + 1] = index == 1 and " " or ", "
    put(out, rawget(value, index), level + 1, seen)
  end
  local indent = "\n" .. string.rep("  ", level + 1)
  for index, key in ipairs(keys) do
    out[#out + 1] = (index == 1 and length == 0) and indent or "," .. indent
    if type(key) == "string" and string.find(key, "^[_%a][_%w]*$") then
      out[#out + 1] = key
    else
      out[#out + 1] = "["
      put(out, key, level + 1, seen)
      out[#out + 1] = "]"
    end
    out[#out + 1] = " = "
    put(out, rawget(value, key), level + 1, seen)
  end
  if #keys > 0 then
    out[#out + 1] = "\n" .. string.rep("  ", level) .. "}"
  else
    out[#out + 1] = length > 0 and " }" or "}"
  end
end

function put(out, value, level, seen)
  local kind = type(value)
  if kind == "string" then
    out[#out + 1] = quote(value)
  elseif kind == "table" then
    put_table(out, value, level, seen)
  elseif kind == "number" or kind == "boolean" or kind == "nil" then
    out[#out + 1] = tostring(value)
  else
    local ids = seen.kinds[kind] or { last = 0 }
    seen.kinds[kind] = ids
    if not ids[value] then
      ids.last = ids.last + 1
      ids[value] = ids.last
    end
    out[#out + 1] = "<" .. kind .. " " .. ids[value] .. ">"
  end
end

-- How often each table occurs: one that occurs twice gets a number.
local function count(value, counts, level)
  if type(value) ~= "table" or level > DEPTH_MAX + 1 then return end
  counts[value] = (rawget(counts, value) or 0) + 1
  if counts[value] > 1 then return end
  for key, member in next, value do
    count(key, counts, level + 1)
    count(member, counts, level + 1)
  end
end

return function(value)
  local out, counts = {}, setmetatable({}, { __index = function() return 1 end })
  count(value, counts, 0)
  put(out, value, 0, { counts = counts, ids = {}, kinds = {}, last = 0 })
  return table.concat(out)
end
