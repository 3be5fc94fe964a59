-- `resty.sha256`, `resty.string`, and in "lax" `resty.http`.
local host = ...

local sha256 = {}
sha256.__index = sha256

function sha256.new()
  return setmetatable({ texts = {} }, sha256)
end

-- The texts are kept and hashed at the end: an event is short.
function sha256:update(value)
  if type(value) ~= "string" then return false end
  self.texts[#self.texts + 1] = value
  return true
end

function sha256:final()
  return host.sha256(table.concat(self.texts))
end

function sha256:reset()
  self.texts = {}
  return true
end

local strings = {}

function strings.to_hex(value)
  return host.hexadecimal(value)
end

function strings.atoi(value)
  return tonumber(string.match(value, "^%s*[+-]?%d+")) or 0
end

-- `new():request_uri(url, options)`: one request, one answer. There are no connections to keep and no streams.
local function open_http(ngx)
  local http = { _VERSION = "0.17.2" }
  http.__index = http

  function http.new()
    return setmetatable({}, http)
  end

  function http:set_timeout(total)
    self.connect_ms, self.total_ms = total, total
    return true
  end

  function http:set_timeouts(connect, send, read)
    self.connect_ms = connect
    self.total_ms = connect and send and read and connect + send + read or nil
    return true
  end

  function http:close() return 1 end
  function http:set_keepalive() return 1 end
  function http:get_reused_times() return 0 end

  for _, name in ipairs({ "connect", "request", "request_pipeline", "proxy_request", "ssl_handshake", "get_client_body_reader", "set_proxy_options" }) do
    http[name] = function() error("resty.http: " .. name .. " is not available to event hooks, only request_uri is", 2) end
  end

  -- "name\0value\0…"; a value that is a list is several headers.
  local function header_lines(headers, level)
    local lines = {}
    for name, value in pairs(headers or {}) do
      for _, item in ipairs(type(value) == "table" and value or { value }) do
        name, item = tostring(name), tostring(item)
        if string.find(name .. item, "[%z\r\n]") then error("resty.http: a header holds a line break or a NUL", level + 1) end
        lines[#lines + 1] = name .. "\0" .. item .. "\0"
      end
    end
    return table.concat(lines)
  end

  -- Names are found in any case, as resty.http's are.
  local function header_table(list)
    local headers, actual = {}, {}
    for index = 1, #list, 2 do
      local name, value = list[index], list[index + 1]
      local key = actual[string.lower(name)] or name
      actual[string.lower(name)] = key
      if headers[key] == nil then
        headers[key] = value
      elseif type(headers[key]) == "table" then
        table.insert(headers[key], value)
      else
        headers[key] = { headers[key], value }
      end
    end
    return setmetatable(headers, {
      __index = function(_, name)
        if type(name) ~= "string" then return nil end
        local key = actual[string.lower((string.gsub(name, "_", "-")))]
        return key and rawget(headers, key)
      end,
    })
  end

  local function target(url, options)
    if options.path then url = (string.match(url, "^%a[%w+.-]*://[^/?#]*") or url) .. options.path end
    local query = options.query
    if type(query) == "table" then query = ngx.encode_args(query) end
    if query and query ~= "" then
      url = url .. (string.find(url, "?", 1, true) and "&" or "?") .. string.gsub(query, "^%?", "")
    end
    return url
  end

  function http:request_uri(url, options)
    options = options or {}
    if type(url) ~= "string" then return nil, "bad uri: " .. tostring(url) end
    if options.body ~= nil and type(options.body) ~= "string" and type(options.body) ~= "number" then
      return nil, "resty.http: the body must be a string"
    end
    local status, headers, body = host.fetch({
      method = options.method or "GET",
      url = target(url, options),
      headers = header_lines(options.headers, 2),
      body = options.body and tostring(options.body),
      verify = options.ssl_verify ~= false,
      connect_ms = self.connect_ms,
      total_ms = self.total_ms,
    })
    if not status then return nil, headers end
    return { status = status, headers = header_table(headers), body = body, has_body = body ~= "", reason = "" }
  end

  return http
end

return { sha256 = sha256, string = strings, http = open_http }
