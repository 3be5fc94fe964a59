local cjson = require "cjson"
return function(data, event, source, pid)
  local order, lines, total = data.entity, {}, 0
  for i, row in ipairs(order.rows) do
    local name = row.title:gsub("(%a)(%a*)", function(first, rest) return first:upper() .. rest end)
    total = total + row.quantity * row.price
    lines[i] = string.format("%2d x %-14s %8.2f", row.quantity, name, row.price)
  end
  local text = cjson.encode({ user = order.username:upper(), total = total, lines = lines, tags = order.tags, event = event })
  if #text < 100 then
    error("the text is too short: " .. text)
  end
  return true
end
