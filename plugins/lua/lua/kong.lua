-- `kong.*`: the parts of Kong's PDK that need no request and no database.
local host, part = ...
local inspect = part("inspect")

local LEVELS = { emerg = 1, alert = 2, crit = 3, err = 4, warn = 5, notice = 6, info = 7, debug = 8 }
local ABSENT = {}
for name in string.gmatch([[client service request response router nginx node cache db dao vault ctx cluster configuration jwe plugin plugins
  tracing telemetry websocket worker_events cluster_events dns default_workspace event_hooks analytics enterprise_edition license timer async
  version version_num pdk_major_version rbac portal keyring clustering rpc secrets core_cache globalpatches]], "%S+") do
  ABSENT[name] = true
end

local function words(...)
  local texts = {}
  for index = 1, select("#", ...) do
    local value = (select(index, ...))
    texts[index] = value == cjson.null and "null" or tostring(value)
  end
  return table.concat(texts)
end

local function open_log(protect)
  local log = {}
  for name, level in pairs(LEVELS) do
    log[name] = function(...) host.log(level, words(...)) end
  end
  function log.inspect(...)
    local texts = {}
    for index = 1, select("#", ...) do texts[index] = inspect((select(index, ...))) end
    host.log(LEVELS.notice, table.concat(texts, " "))
  end
  function log.__call(_, ...) host.log(LEVELS.notice, words(...)) end
  local view = { __call = log.__call }
  for name, value in pairs(log) do view[name] = value end
  return protect("kong.log", view, { deprecation = true, serialize = true, set_serialize_value = true, set_format = true, new = true })
end

local tables = {}

function tables.new()
  return {}
end

function tables.clear(target)
  if type(target) ~= "table" then error("bad argument #1 to 'clear' (table expected, got " .. type(target) .. ")", 2) end
  for key in next, target do rawset(target, key, nil) end
end

-- A new table; where both have a key the second one's value is taken.
function tables.merge(one, other)
  local merged = {}
  for _, source in ipairs({ one or {}, other or {} }) do
    if type(source) ~= "table" then error("bad argument to 'merge' (table expected, got " .. type(source) .. ")", 2) end
    for key, value in pairs(source) do merged[key] = value end
  end
  return merged
end

local ip = {}

-- No proxy stands in front of a hook, so no address is trusted.
function ip.is_trusted(address)
  if type(address) ~= "string" then error("address must be a string", 2) end
  return false
end

return {
  words = words,
  open = function(protect)
    return { log = open_log(protect), table = protect("kong.table", tables), ip = protect("kong.ip", ip) }, ABSENT
  end,
}
