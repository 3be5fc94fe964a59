-- `pl.tablex`: the commonly used part of Penlight's table functions.
local tablex = {}

local function check(value, position)
  if type(value) ~= "table" then error("argument " .. position .. " expected a 'table' got a '" .. type(value) .. "'", 3) end
  return value
end

-- Penlight takes operators by name where it takes functions.
local OPERATORS = {
  ["+"] = function(a, b) return a + b end, ["-"] = function(a, b) return a - b end, ["*"] = function(a, b) return a * b end,
  ["/"] = function(a, b) return a / b end, [".."] = function(a, b) return a .. b end, ["=="] = function(a, b) return a == b end,
  ["~="] = function(a, b) return a ~= b end, ["<"] = function(a, b) return a < b end, ["<="] = function(a, b) return a <= b end,
  [">"] = function(a, b) return a > b end, [">="] = function(a, b) return a >= b end, ["#"] = function(a) return #a end,
  ["and"] = function(a, b) return a and b end, ["or"] = function(a, b) return a or b end,
}
local function callable(value, position)
  local found = OPERATORS[value] or value
  if type(found) ~= "function" then error("argument " .. position .. " must be callable or an operator", 3) end
  return found
end

function tablex.size(t)
  local size = 0
  for _ in pairs(check(t, 1)) do size = size + 1 end
  return size
end
function tablex.keys(t)
  local keys = {}
  for key in pairs(check(t, 1)) do keys[#keys + 1] = key end
  return keys
end
function tablex.values(t)
  local values = {}
  for _, value in pairs(check(t, 1)) do values[#values + 1] = value end
  return values
end
function tablex.copy(t)
  local copy = {}
  for key, value in pairs(check(t, 1)) do copy[key] = value end
  return copy
end
function tablex.icopy(dest, src, idest, isrc, count)
  idest, isrc = idest or 1, isrc or 1
  count = count or #src - isrc + 1
  for offset = 0, count - 1 do dest[idest + offset] = src[isrc + offset] end
  return dest
end
function tablex.deepcopy(t)
  local seen = {}
  local function copy(value)
    if type(value) ~= "table" then return value end
    if not seen[value] then
      local fresh = {}
      seen[value] = fresh
      for key, member in pairs(value) do fresh[copy(key)] = copy(member) end
    end
    return seen[value]
  end
  return copy(t)
end
-- Numbers may differ by `eps`.
function tablex.deepcompare(one, other, _, eps)
  if type(one) ~= type(other) then return false end
  if type(one) ~= "table" then
    if type(one) == "number" and eps then return math.abs(one - other) < eps end
    return one == other
  end
  for key in pairs(one) do if other[key] == nil then return false end end
  for key, value in pairs(other) do
    if one[key] == nil or not tablex.deepcompare(one[key], value, nil, eps) then return false end
  end
  return true
end
function tablex.compare(one, other, equal)
  if #check(one, 1) ~= #check(other, 2) then return false end
  equal = callable(equal or "==", 3)
  for index = 1, #one do if not equal(one[index], other[index]) then return false end end
  return true
end

function tablex.find(t, value, start)
  check(t, 1)
  start = start or 1
  if start < 0 then start = #t + start + 1 end
  for index = start, #t do if t[index] == value then return index end end
  return nil
end
function tablex.rfind(t, value, start)
  for index = start or #check(t, 1), 1, -1 do if t[index] == value then return index end end
  return nil
end
function tablex.find_if(t, equal, arg)
  equal = callable(equal, 2)
  for index = 1, #check(t, 1) do
    local found = equal(t[index], arg)
    if found then return index, found end
  end
  return nil
end

function tablex.map(fun, t, ...)
  fun = callable(fun, 1)
  local mapped = {}
  for key, value in pairs(check(t, 2)) do mapped[key] = fun(value, ...) end
  return mapped
end
function tablex.imap(fun, t, ...)
  fun = callable(fun, 1)
  local mapped = {}
  for index = 1, #check(t, 2) do mapped[index] = fun(t[index], ...) or false end
  return mapped
end
function tablex.map2(fun, one, other, ...)
  fun = callable(fun, 1)
  local mapped = {}
  for key, value in pairs(check(one, 2)) do mapped[key] = fun(value, other[key], ...) end
  return mapped
end
function tablex.pairmap(fun, t, ...)
  fun = callable(fun, 1)
  local mapped = {}
  for key, value in pairs(check(t, 2)) do
    local result, name = fun(key, value, ...)
    if name ~= nil then mapped[name] = result else mapped[#mapped + 1] = result end
  end
  return mapped
end
function tablex.transform(fun, t, ...)
  fun = callable(fun, 1)
  for key, value in pairs(check(t, 2)) do t[key] = fun(value, ...) end
end
function tablex.filter(t, predicate, arg)
  predicate = callable(predicate, 2)
  local kept = {}
  for index = 1, #check(t, 1) do if predicate(t[index], arg) then kept[#kept + 1] = t[index] end end
  return kept
end
function tablex.reduce(fun, t, memo)
  fun = callable(fun, 1)
  local first = 1
  if memo == nil then memo, first = check(t, 2)[1], 2 end
  for index = first, #t do memo = fun(memo, t[index]) end
  return memo
end
function tablex.foreach(t, fun, ...)
  fun = callable(fun, 2)
  for key, value in pairs(check(t, 1)) do fun(value, key, ...) end
end
function tablex.foreachi(t, fun, ...)
  fun = callable(fun, 2)
  for index = 1, #check(t, 1) do fun(t[index], index, ...) end
end
function tablex.count_map(t, equal)
  local counts = {}
  equal = equal and callable(equal, 2)
  for _, value in ipairs(check(t, 1)) do
    local key = value
    if equal then for other in pairs(counts) do if equal(value, other) then key = other end end end
    counts[key] = (counts[key] or 0) + 1
  end
  return counts
end

function tablex.update(t, other)
  for key, value in pairs(check(other, 2)) do check(t, 1)[key] = value end
  return t
end
-- With `dup` all keys of both; else those that both have.
function tablex.merge(one, other, dup)
  local merged = {}
  for key, value in pairs(check(one, 1)) do if dup or other[key] ~= nil then merged[key] = value end end
  if dup then for key, value in pairs(check(other, 2)) do merged[key] = value end end
  return merged
end
function tablex.union(one, other) return tablex.merge(one, other, true) end
function tablex.intersection(one, other) return tablex.merge(one, other, false) end
function tablex.difference(one, other, symmetric)
  local left = {}
  for key, value in pairs(check(one, 1)) do if other[key] == nil then left[key] = value end end
  if symmetric then for key, value in pairs(check(other, 2)) do if one[key] == nil then left[key] = value end end end
  return left
end
function tablex.makeset(t)
  local set = {}
  for _, value in ipairs(check(t, 1)) do set[value] = true end
  return set
end
function tablex.issubset(one, other)
  for key in pairs(check(other, 2)) do if one[key] == nil then return false end end
  return true
end
function tablex.index_map(t)
  local map = {}
  for index, value in ipairs(check(t, 1)) do map[value] = index end
  return map
end
function tablex.index_by(t, indexes)
  local values = {}
  for index, key in ipairs(check(indexes, 2)) do values[index] = t[key] end
  return values
end

function tablex.range(first, last, step)
  local numbers = {}
  for number = first, last, step or (first <= last and 1 or -1) do numbers[#numbers + 1] = number end
  return numbers
end
function tablex.sub(t, first, last)
  check(t, 1)
  first, last = first or 1, last or -1
  if first < 0 then first = #t + first + 1 end
  if last < 0 then last = #t + last + 1 end
  local part = {}
  for index = first, math.min(last, #t) do part[#part + 1] = t[index] end
  return part
end
function tablex.insertvalues(t, at, values)
  if values == nil then at, values = #t + 1, at end
  for offset, value in ipairs(values) do table.insert(t, at + offset - 1, value) end
  return t
end
function tablex.removevalues(t, first, last)
  for _ = first, math.min(last or first, #t) do table.remove(t, first) end
  return t
end
function tablex.new(count, value)
  local list = {}
  for index = 1, count do list[index] = type(value) == "function" and value(index) or tablex.deepcopy(value) end
  return list
end
function tablex.clear(t, from)
  for index = from or 1, #check(t, 1) do t[index] = nil end
end
function tablex.zip(...)
  local lists, zipped, length = { ... }, {}, math.huge
  for _, list in ipairs(lists) do length = math.min(length, #list) end
  for index = 1, length == math.huge and 0 or length do
    zipped[index] = {}
    for place, list in ipairs(lists) do zipped[index][place] = list[index] end
  end
  return zipped
end

local function sorted(t, order, less)
  local keys, place = tablex.keys(t), 0
  table.sort(keys, order(less))
  return function()
    place = place + 1
    return keys[place], t[keys[place]]
  end
end
-- Iterators by key and by value.
function tablex.sort(t, less)
  return sorted(t, function(given) return given or function(a, b) return a < b end end, less)
end
function tablex.sortv(t, less)
  less = less or function(a, b) return a < b end
  return sorted(t, function() return function(a, b) return less(t[a], t[b]) end end)
end

return tablex
