-- How a result is written: on one line, the same in every Lua, with nothing but what the sandbox has.
local show = {}

function show.text(value)
  -- Every run gives the chunk another hook's id.
  value = value:gsub('%[string "event_hooks:[%x-]+"%]', "$")
  return (value:gsub("[%c\\\128-\255]", function(c)
    return c == "\\" and "\\\\" or c == "\n" and "\\n" or ("\\%03d"):format(c:byte())
  end))
end

local function one(value, depth)
  local kind = type(value)
  if kind == "string" then
    return '"' .. show.text(value) .. '"'
  elseif kind == "number" then
    return value ~= value and "nan" or tostring(value)
  elseif kind == "table" and depth < 4 then
    local parts, length = {}, #value
    for i = 1, length do
      parts[i] = one(value[i], depth + 1)
    end
    local named = {}
    for key, member in pairs(value) do
      if not (type(key) == "number" and key >= 1 and key <= length and key % 1 == 0) then
        named[#named + 1] = "[" .. one(key, depth + 1) .. "] = " .. one(member, depth + 1)
      end
    end
    table.sort(named)
    for i = 1, #named do
      parts[#parts + 1] = named[i]
    end
    return "{" .. table.concat(parts, ", ") .. "}"
  elseif kind == "nil" or kind == "boolean" then
    return tostring(value)
  end
  return "<" .. kind .. ">"
end

-- What pcall gave: `= ` and the values, or `! ` and the error's value.
function show.result(ok, ...)
  local parts = {}
  for i = 1, select("#", ...) do
    parts[i] = one((select(i, ...)), 0)
  end
  return (ok and "= " or "! ") .. table.concat(parts, ", ")
end

return show
