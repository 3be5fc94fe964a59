-- `os`, as far as it is harmless. The zone is UTC.
local host = ...
local started

local os = {}

function os.time(parts)
  if parts == nil then return math.floor(host.now()) end
  if type(parts) ~= "table" then error("bad argument #1 to 'time' (table expected, got " .. type(parts) .. ")", 2) end
  local function field(name, default)
    local value = tonumber(parts[name]) or default
    if not value then error("field '" .. name .. "' missing in date table", 3) end
    return value
  end
  local year, month, day = field("year"), field("month"), field("day")
  return host.date_seconds(year, month, day, field("hour", 12), field("min", 0), field("sec", 0))
end

function os.date(format, time)
  format = format == nil and "%c" or tostring(format)
  if time == nil then time = host.now() end
  if type(tonumber(time)) ~= "number" then error("bad argument #2 to 'date' (number expected, got " .. type(time) .. ")", 2) end
  time = tonumber(time)
  if string.sub(format, 1, 1) == "!" then format = string.sub(format, 2) end
  if string.sub(format, 1, 2) == "*t" then return host.date_parts(time) end
  local ok, text = pcall(host.date, format, time)
  if not ok then error((string.gsub(text, "^clock:%d+: ", "")), 2) end
  return text
end

function os.difftime(later, earlier)
  return later - (earlier or 0)
end

-- Seconds since it was first asked: an instance has no clock of its own computing.
function os.clock()
  local now = host.now()
  started = started or now
  return now - started
end

return os
