-- What a chunk sees: Kong's allow-list of `untrusted_lua = strict`, or a little more in "lax".
local host, part, mode = ...

-- A view of a module that cannot be written to. `absent` names what Kong has and we do not: it is an error to ask for it.
local function protect(name, module, absent)
  local index = module
  if absent then
    index = function(_, key)
      local value = module[key]
      if value == nil and absent[key] then
        error(name .. "." .. key .. " is not available to event hooks", 2)
      end
      return value
    end
  end
  return setmetatable({}, {
    __index = index,
    __newindex = function(_, key)
      error("Cannot modify " .. name .. "." .. tostring(key) .. ". Protected by the sandbox.", 2)
    end,
    __call = module.__call,
  })
end

string.dump, string.gfind = nil, nil
local clock = part("clock")
local ngx, absent_ngx = part("ngx").open(protect)
local kong, absent_kong = part("kong").open(protect)
local safe = cjson.safe
cjson.safe = nil

local modules = {
  ["cjson"] = protect("cjson", cjson),
  ["cjson.safe"] = protect("cjson.safe", safe),
  ["bit"] = protect("bit", bit),
  ["table.new"] = table.new,
  ["table.clear"] = table.clear,
}

-- Compiled when they are asked for: most scripts never do, and an event that starts from nothing would pay for all of them.
local later = {
  ["pl.stringx"] = function() return part("stringx") end,
  ["pl.tablex"] = function() return part("tablex") end,
  ["resty.sha256"] = function() return part("resty").sha256 end,
  ["resty.string"] = function() return part("resty").string end,
  ["kong.tools.string"] = function() return part("tools").string end,
  ["kong.tools.table"] = function() return part("tools").table end,
}
if mode == "lax" then
  later["resty.http"] = function() return part("resty").http(part("ngx")) end
end

local function require(name)
  if type(name) ~= "string" then
    error("bad argument #1 to 'require' (string expected, got " .. type(name) .. ")", 2)
  end
  local module = modules[name]
  if module == nil and later[name] then
    module = protect(name, later[name]())
    modules[name] = module
  end
  if module == nil then error("require '" .. name .. "' not allowed within sandbox", 2) end
  return module
end

local globals = {
  _VERSION = _VERSION,
  assert = assert,
  error = error,
  ipairs = ipairs,
  next = next,
  pairs = pairs,
  pcall = pcall,
  print = part("ngx").print,
  select = select,
  tonumber = tonumber,
  tostring = tostring,
  type = type,
  unpack = unpack,
  xpcall = xpcall,
  require = require,
  bit = modules["bit"],
  coroutine = protect("coroutine", coroutine),
  math = protect("math", math),
  string = protect("string", string),
  table = protect("table", table),
  os = protect("os", clock),
  -- There is no file here, so nothing is one.
  io = protect("io", { type = function() return nil end }),
  jit = protect("jit", { arch = "x64", os = "Linux", version = "LuaJIT 2.1.0-beta3", version_num = 20100 }),
  ngx = protect("ngx", ngx, absent_ngx),
  kong = protect("kong", kong, absent_kong),
}

part("template").open(globals, cjson)

return function()
  local environment = {}
  for name, value in pairs(globals) do environment[name] = value end
  environment._G = environment
  return environment
end
