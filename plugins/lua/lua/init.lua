-- The prelude: runs once for each state, outside of the sandbox. `host` holds the functions written in Rust, `mode` is "strict" or "lax".
-- Returns the function that makes the globals of one chunk.
local host, mode = ...
local loaded = {}

-- The value of lua/<name>.lua, which is run once.
local function part(name)
  if loaded[name] == nil then
    loaded[name] = assert(loadstring(host.source(name), "=" .. name))(host, part, mode)
  end
  return loaded[name]
end

return part("sandbox")
