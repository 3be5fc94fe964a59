-- `ngx.re`: matching is `host.re_search`; the tables of captures and the callbacks are made here.
local host = ...
local sub = string.sub
local re = {}

-- How many matches are asked for at once: more each time, because a loop may end at the first.
local BATCH_MAX = 256

local function text(value)
  return type(value) == "string" and value or tostring(value)
end

-- Names, numbers and count of the groups; or nil and why the pattern is wrong. A wrong flag is raised at the caller's caller.
local function describe(pattern, flags)
  local ok, names, groups = pcall(host.re_names, pattern, flags)
  if not ok then error((string.gsub(names, "^re:%d+: ", "")), 3) end
  return names, groups
end

-- The table of one match, from the list of places at `at`. A group that is not set is false.
local function captures(subject, names, groups, places, at, into)
  local found = into or {}
  if sub(names.flags, 1, 1) == "d" then groups = 0 end
  for group = 0, groups do
    local start, stop = places[at + 2 * group], places[at + 2 * group + 1]
    found[group] = (start and start > 0) and sub(subject, start, stop) or false
  end
  for index = 1, #names, 2 do
    local name, group = names[index], names[index + 1]
    if not found[name] then found[name] = found[group] or false end
  end
  return found
end

local function from_of(ctx, level)
  if ctx == nil then return 0 end
  if type(ctx) ~= "table" then error("bad argument #4 (table expected, got " .. type(ctx) .. ")", level + 1) end
  local pos = tonumber(ctx.pos) or 1
  return pos < 1 and 0 or pos - 1
end

function re.match(subject, pattern, flags, ctx, into)
  subject, pattern, flags = text(subject), text(pattern), flags or ""
  local names, groups = describe(pattern, flags)
  if not names then return nil, groups end
  names.flags = string.find(flags, "d", 1, true) and "d" or ""
  local from = from_of(ctx, 2)
  local places, after = host.re_search(pattern, flags, subject, from, 1)
  if not places then return nil, after end
  if #places == 0 then return nil end
  if ctx then ctx.pos = places[2] + 1 end
  if into then for index = 0, groups do into[index] = nil end end
  return captures(subject, names, groups, places, 1, into)
end

function re.find(subject, pattern, flags, ctx, nth)
  subject, pattern, flags = text(subject), text(pattern), flags or ""
  local names, groups = describe(pattern, flags)
  if not names then return nil, nil, groups end
  nth = nth or 0
  if nth < 0 or nth > groups then return nil, nil, "nth out of bound" end
  local places, after = host.re_search(pattern, flags, subject, from_of(ctx, 2), 1)
  if not places then return nil, nil, after end
  if #places == 0 then return nil end
  if ctx then ctx.pos = places[2] + 1 end
  local start, stop = places[2 * nth + 1], places[2 * nth + 2]
  if not start or start == 0 then return nil end
  return start, stop
end

-- An iterator over the places of all matches: `places, at`, then nil, or nil and an error.
local function scan(pattern, flags, subject, from, groups)
  local places, at, count, width = {}, 1, 1, 2 * (groups + 1)
  return function()
    if at > #places then
      if not from then return nil end
      local why
      places, why = host.re_search(pattern, flags, subject, from, count)
      if not places then
        from, places, at = nil, {}, 1
        return nil, why
      end
      from, at, count = why, 1, math.min(count * 4, BATCH_MAX)
      if #places == 0 then
        from = nil
        return nil
      end
    end
    local here = at
    at = at + width
    return places, here
  end
end

function re.gmatch(subject, pattern, flags, ctx)
  subject, pattern, flags = text(subject), text(pattern), flags or ""
  local names, groups = describe(pattern, flags)
  if not names then return nil, groups end
  local longest = string.find(flags, "d", 1, true)
  names.flags = longest and "d" or ""
  local next_match = scan(pattern, flags, subject, from_of(ctx, 2), longest and 0 or groups)
  return function()
    local places, at = next_match()
    if not places then return nil, at end
    return captures(subject, names, groups, places, at)
  end
end

-- The pieces of a replacement: texts, and numbers of groups. Nil and why: it is wrong.
local function template(replacement)
  local pieces, at = {}, 1
  while true do
    local dollar = string.find(replacement, "$", at, true)
    if not dollar then
      pieces[#pieces + 1] = sub(replacement, at)
      return pieces
    end
    pieces[#pieces + 1] = sub(replacement, at, dollar - 1)
    local rest = sub(replacement, dollar + 1)
    local digits = string.match(rest, "^%d+")
    local braced = string.match(rest, "^{(%d+)}")
    if string.sub(rest, 1, 1) == "$" then
      pieces[#pieces + 1] = "$"
      at = dollar + 2
    elseif digits then
      pieces[#pieces + 1] = tonumber(digits)
      at = dollar + 1 + #digits
    elseif braced then
      pieces[#pieces + 1] = tonumber(braced)
      at = dollar + 3 + #braced
    else
      return nil, "failed to compile the replacement template"
    end
  end
end

local function replacer(replacement, subject, names, groups)
  if type(replacement) == "function" then
    return function(places, at)
      local value = replacement(captures(subject, names, groups, places, at))
      if type(value) ~= "string" and type(value) ~= "number" then
        error("string or number expected to be returned by the replace function, got " .. type(value), 4)
      end
      return tostring(value)
    end
  end
  local pieces, why = template(text(replacement))
  if not pieces then return nil, why end
  return function(places, at)
    local texts = {}
    for index, piece in ipairs(pieces) do
      if type(piece) == "number" then
        local start, stop = places[at + 2 * piece], places[at + 2 * piece + 1]
        piece = (piece <= groups and start and start > 0) and sub(subject, start, stop) or ""
      end
      texts[index] = piece
    end
    return table.concat(texts)
  end
end

local function replace(subject, pattern, replacement, flags, most)
  subject, pattern, flags = text(subject), text(pattern), flags or ""
  local names, groups = describe(pattern, flags)
  if not names then return nil, nil, groups end
  if string.find(flags, "d", 1, true) then groups = 0 end
  names.flags = ""
  local replaced, why = replacer(replacement, subject, names, groups)
  if not replaced then return nil, nil, why end
  local texts, copied, count = {}, 1, 0
  local next_match = scan(pattern, flags, subject, 0, groups)
  while count < most do
    local places, at = next_match()
    if not places and at then return nil, nil, at end
    if not places then break end
    count = count + 1
    texts[#texts + 1] = sub(subject, copied, places[at] - 1)
    texts[#texts + 1] = replaced(places, at)
    copied = places[at + 1] + 1
  end
  if count == 0 then return subject, 0 end
  texts[#texts + 1] = sub(subject, copied)
  return table.concat(texts), count
end

function re.sub(subject, pattern, replacement, flags)
  local result, count, why = replace(subject, pattern, replacement, flags, 1)
  if why then return nil, nil, why end
  return result, count
end

function re.gsub(subject, pattern, replacement, flags)
  local result, count, why = replace(subject, pattern, replacement, flags, math.huge)
  if why then return nil, nil, why end
  return result, count
end

return re
