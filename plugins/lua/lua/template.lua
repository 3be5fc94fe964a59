-- The half of the template engine that runs in Lua; src/template/ turns a template into a chunk that calls what is made here.
local type, tostring, gsub, setmetatable, setfenv, concat = type, tostring, string.gsub, setmetatable, setfenv, table.concat
local null = cjson.null

-- What a template may use beside the data. Nothing that reaches out: no `os`, `io`, `require`, `ngx`, `kong`.
local NAMES = { "assert", "error", "ipairs", "next", "pairs", "pcall", "select", "tonumber", "tostring", "type", "unpack", "xpcall", "math", "string", "table", "bit" }

local HTML = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;", ["/"] = "&#47;" }
local BRACES = setmetatable({ ["{"] = "&#123;", ["}"] = "&#125;" }, { __index = HTML })

local function open(globals, json)
  local names, hidden = {}, {}

  -- What is written raw. A function is called; a name that is a function or a module of Lua and not data is nothing.
  local function output(value)
    while type(value) == "function" and not hidden[value] do value = value() end
    if value == nil or value == null or hidden[value] then return "" end
    return tostring(value)
  end

  local function escape(value, braces)
    if type(value) ~= "string" then return output(value) end
    if braces then return (gsub(value, "[}{\">/<'&]", BRACES)) end
    return (gsub(value, "[\">/<'&]", HTML))
  end

  for _, name in ipairs(NAMES) do names[name] = globals[name] end
  -- The whole value as one JSON text, to stand where JSON wants a value: {* json(entity) *}
  names.json = function(value) return json.encode(value) end
  for _, module in ipairs({ names, string, table, math, bit }) do
    for _, value in pairs(module) do
      if type(value) == "function" or type(value) == "table" then hidden[value] = true end
    end
  end
  names.template = { escape = escape, output = output }
  hidden[names.template] = true

  -- `body(text, escaped, raw)` is what a template was compiled to, `texts` its literal texts. Gives back the function that renders data.
  globals["\0template"] = function(texts, body)
    return function(data)
      if type(data) ~= "table" then data = {} end
      local out, count = {}, 0
      setfenv(body, setmetatable({ context = data }, {
        __index = function(_, name)
          local value = data[name]
          if value == nil then value = names[name] end
          return value
        end,
      }))
      body(function(index)
        count = count + 1
        out[count] = texts[index]
      end, function(value, braces)
        count = count + 1
        out[count] = escape(value, braces)
      end, function(value)
        count = count + 1
        out[count] = output(value)
      end)
      return concat(out)
    end
  end
end

return { open = open }
