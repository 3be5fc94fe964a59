-- `ngx.*`: what OpenResty offers without a request: encoding, hashes, time, regular expressions, the log.
local host, part = ...
local words = part("kong").words
local floor = math.floor

local ABSENT = {}
for name in string.gmatch([[say print flush eof exit exec redirect send_headers headers_sent header req resp var arg status location shared socket
  timer thread worker semaphore process config on_abort get_phase is_subrequest run_worker_thread]], "%S+") do
  ABSENT[name] = true
end

local ngx = {
  null = cjson.null,
  OK = 0, ERROR = -1, AGAIN = -2, DONE = -4, DECLINED = -5,
  STDERR = 0, EMERG = 1, ALERT = 2, CRIT = 3, ERR = 4, WARN = 5, NOTICE = 6, INFO = 7, DEBUG = 8,
  HTTP_OK = 200, HTTP_CREATED = 201, HTTP_ACCEPTED = 202, HTTP_NO_CONTENT = 204, HTTP_MOVED_PERMANENTLY = 301,
  HTTP_MOVED_TEMPORARILY = 302, HTTP_NOT_MODIFIED = 304, HTTP_BAD_REQUEST = 400, HTTP_UNAUTHORIZED = 401, HTTP_FORBIDDEN = 403,
  HTTP_NOT_FOUND = 404, HTTP_NOT_ALLOWED = 405, HTTP_CONFLICT = 409, HTTP_TOO_MANY_REQUESTS = 429, HTTP_INTERNAL_SERVER_ERROR = 500,
  HTTP_BAD_GATEWAY = 502, HTTP_SERVICE_UNAVAILABLE = 503, HTTP_GATEWAY_TIMEOUT = 504,
  re = part("re"),
  ctx = {},
}

-- As OpenResty takes texts: nil is empty, anything else is what tostring says.
local function text(value)
  if type(value) == "string" then return value end
  return value == nil and "" or tostring(value)
end

function ngx.log(level, ...)
  if type(level) ~= "number" then error("bad argument #1 to 'log' (number expected, got " .. type(level) .. ")", 2) end
  if level < 0 or level > 8 then error("bad argument #1 to 'log' (bad log level: " .. level .. ")", 2) end
  host.log(level, words(...))
end

function ngx.sleep(seconds)
  seconds = tonumber(seconds)
  if not seconds then error("bad argument #1 to 'sleep' (number expected)", 2) end
  if seconds < 0 then error("invalid sleep duration \"" .. seconds .. "\"", 2) end
  local ok, message = pcall(host.sleep, seconds)
  if not ok then error((string.gsub(message, "^ngx:%d+: ", "")), 2) end
end

function ngx.encode_base64(value, no_padding) return host.encode_base64(text(value), not no_padding) end
function ngx.decode_base64(value)
  if type(value) ~= "string" then error("string argument only", 2) end
  return host.decode_base64(value)
end
function ngx.escape_uri(value, kind)
  if kind ~= nil and kind ~= 0 and kind ~= 2 then error("\"type\" " .. tostring(kind) .. " out of range", 2) end
  return host.escape_uri(text(value), kind or 2)
end
function ngx.unescape_uri(value) return host.unescape_uri(text(value)) end
function ngx.md5(value) return host.hexadecimal(host.md5(text(value))) end
function ngx.md5_bin(value) return host.md5(text(value)) end
function ngx.sha1_bin(value) return host.sha1(text(value)) end
function ngx.hmac_sha1(key, value) return host.hmac_sha1(text(key), text(value)) end
function ngx.crc32_short(value) return host.crc32(text(value)) end
function ngx.crc32_long(value) return host.crc32(text(value)) end

local QUOTED = { ["\0"] = "\\0", ["\b"] = "\\b", ["\t"] = "\\t", ["\n"] = "\\n", ["\r"] = "\\r", ["\26"] = "\\Z", ["\\"] = "\\\\", ["'"] = "\\'", ['"'] = '\\"' }
function ngx.quote_sql_str(value) return "'" .. string.gsub(text(value), "[%z\b\t\n\r\26\\'\"]", QUOTED) .. "'" end

-- The order of OpenResty's answer is that of `pairs`; here the names are sorted.
function ngx.encode_args(args)
  if type(args) ~= "table" then error("bad argument #1 to 'encode_args' (table expected, got " .. type(args) .. ")", 2) end
  local names, fields = {}, {}
  for name in pairs(args) do
    if type(name) ~= "string" then error("attempt to use a non-string key in the \"args\" option table", 2) end
    names[#names + 1] = name
  end
  table.sort(names)
  local function add(name, value)
    local kind = type(value)
    if kind == "string" or kind == "number" then
      fields[#fields + 1] = host.escape_uri(name, 2) .. "=" .. host.escape_uri(tostring(value), 2)
    elseif value == true then
      fields[#fields + 1] = host.escape_uri(name, 2)
    elseif value ~= false then
      error("attempt to use " .. kind .. " as query arg value", 4)
    end
  end
  local function add_all(name, value)
    if type(value) ~= "table" then return add(name, value) end
    for _, item in ipairs(value) do add(name, item) end
  end
  for _, name in ipairs(names) do add_all(name, args[name]) end
  return table.concat(fields, "&")
end

-- At most `max` arguments (100; 0: all), and "truncated" if there were more.
function ngx.decode_args(query, max)
  if type(query) ~= "string" then error("bad argument #1 to 'decode_args' (string expected, got " .. type(query) .. ")", 2) end
  max = max or 100
  local args, count = {}, 0
  for field in string.gmatch(query, "[^&]+") do
    local name, value = string.match(field, "^([^=]*)=(.*)$")
    name = host.unescape_uri(name or field)
    value = value and host.unescape_uri(value) or not value
    if name ~= "" then
      count = count + 1
      if max > 0 and count > max then return args, "truncated" end
      local before = args[name]
      if before == nil then
        args[name] = value
      elseif type(before) == "table" then
        before[#before + 1] = value
      else
        args[name] = { before, value }
      end
    end
  end
  return args
end

function ngx.now() return floor(host.now() * 1000) / 1000 end
function ngx.time() return floor(host.now()) end
-- The clock is read at each call: there is nothing to update.
function ngx.update_time() end
function ngx.today() return host.date("%Y-%m-%d", host.now()) end
function ngx.utctime() return host.date("%Y-%m-%d %H:%M:%S", host.now()) end
ngx.localtime = ngx.utctime

local function number(value, name)
  value = tonumber(value)
  if not value then error("bad argument #1 to '" .. name .. "' (number expected)", 3) end
  return value
end
function ngx.http_time(seconds) return host.http_time(number(seconds, "http_time")) end
function ngx.cookie_time(seconds) return host.cookie_time(number(seconds, "cookie_time")) end
function ngx.parse_http_time(value) return host.parse_http_time(text(value)) end

return {
  encode_args = ngx.encode_args,
  print = function(...) host.log(6, words(...)) end,
  open = function(protect)
    ngx.re = protect("ngx.re", ngx.re)
    return ngx, ABSENT
  end,
}
