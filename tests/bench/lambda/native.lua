-- The yardstick of `bench lambda`: the same event through the same function, natively. Prints JSON: medians in microseconds.
--
--     luajit -joff native.lua event.json function.lua 5000
local cjson = require "cjson"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local event, text, count = read(arg[1]), read(arg[2]), tonumber(arg[3])
local compile = loadstring or load
local handle = assert(compile(text, "function"))()

local function decoded_and_called()
  assert(handle(cjson.decode(event), "orders", "crud", 42) == true)
end

local function compiled_too()
  assert(compile(text, "function")()(cjson.decode(event), "orders", "crud", 42) == true)
end

local function median(what)
  local times = {}
  for round = 1, 9 do
    local started = os.clock()
    for _ = 1, count / 9 do
      what()
    end
    times[round] = (os.clock() - started) / math.floor(count / 9) * 1e6
  end
  table.sort(times)
  return times[5]
end

decoded_and_called()
print(cjson.encode({ warm_us = median(decoded_and_called), compiled_us = median(compiled_too) }))
