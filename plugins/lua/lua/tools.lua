-- `kong.tools.string` and `kong.tools.table`: the pure functions.
local host, part = ...
local stringx, tablex = part("stringx"), part("tablex")

local strings = { strip = function(text) return text == nil and "" or stringx.strip(tostring(text)) end }

function strings.split(text, separator, limit)
  return stringx.split(text, separator, limit)
end

function strings.bytes_to_str(bytes, unit, scale)
  local factors = { b = 1, k = 1024, m = 1024 ^ 2, g = 1024 ^ 3 }
  unit = unit or "b"
  local letter = string.lower(string.sub(unit, 1, 1))
  if unit == "" or letter == "b" then return bytes end
  if not factors[letter] then error("invalid unit '" .. unit .. "' (expected 'k/K', 'm/M', or 'g/G')", 2) end
  return string.format("%." .. (scale or 2) .. "f %siB", bytes / factors[letter], string.upper(letter))
end

strings.to_hex = host.hexadecimal

local tables = { shallow_copy = tablex.copy, deep_copy = tablex.deepcopy, cycle_aware_deep_copy = tablex.deepcopy }

function tables.table_contains(t, value)
  for _, member in pairs(t or {}) do if member == value then return true end end
  return false
end

function tables.table_merge(one, other)
  return tablex.union(one or {}, other or {})
end

function tables.is_array(t)
  if type(t) ~= "table" then return false end
  local count = 0
  for _ in pairs(t) do count = count + 1 end
  return count == #t
end

function tables.concat(...)
  local joined = {}
  for _, list in ipairs({ ... }) do for _, value in ipairs(list) do joined[#joined + 1] = value end end
  return joined
end

return { string = strings, table = tables }
